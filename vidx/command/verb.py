"""Verbs of the command line, and the flags that they declare."""

from collections.abc import Callable, Mapping, Sequence
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
    prefix: of the flags that are the overrides, such as `--config.data.crop=112`; '': it takes none.
    words: whether words may follow, besides flags.
  """

  summary: str
  usage: str
  define: Callable[[flags.FlagValues], None]
  run: Callable[[flags.FlagValues, Sequence[str], Sequence[str]], int | None]
  prefix: str = ""
  words: bool = True


def string(name: str, default: str, text: str):
  """Declares a flag of text."""
  return lambda fv: flags.DEFINE_string(name, default, text, flag_values=fv)


def integer(name: str, default: int, text: str, least: int | None = None):
  """Declares a flag of a whole number, of `least` or more."""
  return lambda fv: flags.DEFINE_integer(name, default, text, lower_bound=least, flag_values=fv)


def number(name: str, default: float, text: str, least: float | None = None, most: float | None = None):
  """Declares a flag of a number, of `least` or more and at most `most`."""
  return lambda fv: flags.DEFINE_float(name, default, text, lower_bound=least, upper_bound=most, flag_values=fv)


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
  """Prints what a verb did, a line for each entry; of an entry of several things one for each of them."""
  for key, value in (summary or {}).items():
    if isinstance(value, Mapping):
      several = [f"{name}: {what if isinstance(what, str) else f'{what:,}'}" for name, what in value.items()]
    else:
      several = value if isinstance(value, (list, tuple)) else [value]
    for what in several:
      print(f"{key}: {what}")


CONFIG = "--config."  # the prefix of overrides over a config

# Flags of several rooms.
WORKDIR = string("workdir", "", "folder of the run")
OUT = string("out", "", "folder to write")
WINDOW = integer("window", 21, "frames around every frame that a trunk is shown", 1)
STRIDE = integer("stride", 1, "frames of a video per row of features", 1)
VIEWS = string("views", "1x1", "clips x crops per video, such as 10x3")
WINDOWS = string("windows", "", "boxes of all frames: how windows go over a video, such as"
                 " center_overlap,size=11,step=10,passes=2,link=seqnms,still=FOLDER,scales=270,360,540; links are"
                 " seqnms, dt_link and none; scales are shorter sides")
STEP = string("step", "best", "which checkpoint: best, last, or a number")
JSON = switch("json", "print JSON")
