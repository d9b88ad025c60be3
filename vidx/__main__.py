"""`python -m vidx` equals `vidx`."""

from vidx import cli

if __name__ == "__main__":
  cli.run()
