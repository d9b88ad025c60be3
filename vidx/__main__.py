"""`python -m vidx` equals `vidx`."""

from vidx.train import stop


def run() -> None:
  """Entry point of the console script."""
  with stop.at_once():  # Ctrl-C while libraries are loaded is no error of theirs
    from vidx import cli
  cli.run()


if __name__ == "__main__":
  run()
