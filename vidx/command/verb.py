"""Verbs of the command line, and the flags that they declare."""

from collections.abc import Callable, Sequence
import dataclasses

from absl import flags


@dataclasses.dataclass(frozen=True)
class Verb:
  """One word of the command line.

  Attributes:
    summary: one line.
    usage: what follows `vidx VERB`.
    define: declares the flags.
    run: (flag values, positional arguments, overrides) -> exit status.
    prefix: of the flags that are the overrides, such as `--config.data.crop=112`.
    words: whether words may follow, besides flags.
  """

  summary: str
  usage: str
  define: Callable[[flags.FlagValues], None]
  run: Callable[[flags.FlagValues, Sequence[str], Sequence[str]], int | None]
  prefix: str = "--config."
  words: bool = True


def string(name: str, default: str, text: str):
  """Declares a flag of text."""
  return lambda fv: flags.DEFINE_string(name, default, text, flag_values=fv)


def integer(name: str, default: int, text: str):
  """Declares a flag of a whole number."""
  return lambda fv: flags.DEFINE_integer(name, default, text, flag_values=fv)


def number(name: str, default: float, text: str):
  """Declares a flag of a number."""
  return lambda fv: flags.DEFINE_float(name, default, text, flag_values=fv)


def switch(name: str, text: str):
  """Declares a flag that is off unless it is named."""
  return lambda fv: flags.DEFINE_bool(name, False, text, flag_values=fv)


def every(*defines):
  """Declares the flags of all."""
  def define(fv):
    for d in defines:
      d(fv)
  return define


def show(summary) -> None:
  """Prints what a verb did, a line for each entry."""
  for key, value in (summary or {}).items():
    print(f"{key}: {value}")


# Flags of several rooms.
WORKDIR = string("workdir", "", "folder of the run")
OUT = string("out", "", "folder to write")
WINDOW = integer("window", 21, "frames around every frame that a trunk is shown")
STRIDE = integer("stride", 1, "frames of a video per row of features")
STEP = string("step", "best", "which checkpoint: best, last, or a number")
JSON = switch("json", "print JSON")
