"""What the words and flags of the command line mean; a ConfigError says what was expected."""

from collections.abc import Callable, Container, Mapping, Sequence
import os

from absl import flags

from vidx import errors, reading
from vidx.command.verb import CONFIG


def views(text: str) -> tuple[int, int]:
  """(clips, crops) of '10x3'; 0 clips, as many as each video has, of 'allx1'."""
  try:
    clips, crops = (0 if t == "all" else int(t) for t in text.split("x"))
  except ValueError:
    raise errors.ConfigError(f"--views={text}: write clips x crops, such as 10x3 or allx1.") from None
  if clips < 0 or text.startswith("0") or crops not in (1, 3, 5):
    raise errors.ConfigError(f"--views={text}: at least 1 clip, and 1, 3 or 5 crops.")
  return clips, crops


def shapes(text: str) -> list[tuple[int, ...]]:
  """[(1, 16, 112, 112, 3)] of '1x16x112x112x3', several with commas."""
  try:
    return [tuple(int(n) for n in shape.split("x")) for shape in text.split(",") if shape]
  except ValueError:
    raise errors.ConfigError(f"--inputs={text}: write a shape such as 1x16x112x112x3, several with commas.") from None


def numbers(flag: str, text: str) -> tuple[float, ...]:
  """(1.0, 1.5) of '1,1.5'."""
  try:
    return tuple(float(n) for n in text.split(",") if n)
  except ValueError:
    raise errors.ConfigError(f"--{flag}={text}: write numbers with commas, such as 1,1.5.") from None


def step(text: str) -> int | str:
  """'best', 'last' or a number."""
  if text in ("best", "last"):
    return text
  if text.isdigit():
    return int(text)
  raise errors.ConfigError(f"--step={text}: write best, last, or the number of a checkpoint.")


def hint(flag: str, known: Sequence[str], prefix: str) -> str:
  """What may have been meant by a flag that a verb has not, for the end of a message; '' where nothing is near.

  Args:
    flag: its name.
    known: names of the flags that the verb has.
    prefix: of its overrides, see `Verb`.
  """
  *section, last = flag.split(".")
  if section and last in known:
    return f"; write --{last}"
  if prefix == CONFIG:
    from vidx.train import config as config_lib
    keys = [line.partition("=")[0] for line in config_lib.listed(config_lib.base()).splitlines()]
    if meant := [key for key in keys if key.endswith(f".{flag}")]:
      return f"; write {' or '.join(meant)}"
  return errors.hint(flag, known)


def runs(**folders: str | Sequence[str]) -> None:
  """Raises CheckpointError where a folder that a flag names, or one of several, is not that of a run; '' is none."""
  for flag, named in folders.items():
    several = [named] if isinstance(named, str) else named
    for folder in filter(None, several):
      _check_run(f"--{flag}={','.join(several)}: {folder}", folder)


def _check_run(said: str, folder: str) -> None:
  if not os.path.isfile(os.path.join(folder, "config.json")):
    raise reading.no_run(said)


def files(**paths: str) -> None:
  """Raises DataError where a file that a flag names is not there."""
  for flag, path in paths.items():
    if path and not os.path.isfile(path):
      raise errors.DataError(f"--{flag}={path}: there is no such file.")


def ending(flag: str, path: str, known: Sequence[str], why: str = "") -> None:
  """Raises ConfigError for a file to write whose ending is not one of those that are written."""
  if path and os.path.splitext(path)[1].lower() not in known:
    raise errors.ConfigError(f"--{flag}={path}{why}: name a file that ends in {' or '.join(known)}.")


def windows(text: str) -> None:
  """Raises a UserError for windows over a video that cannot be, or that need a run which is not there."""
  if text:
    from vidx.infer import detect
    if still := detect.how(text).still:
      _check_run(f"--windows: still={still}", still)


def pairs(args: Sequence[str], taken: Container[str] = ()) -> dict[str, object]:
  """{'name': value} of `name=value` words, whose names are not the taken ones of flags."""
  from vidx.train import config as config_lib
  found = {}
  for arg in args:
    name, equals, text = arg.partition("=")
    if not equals:
      folder = f", and the folder of the data as --root={arg}" if "root" in taken and os.path.isdir(arg) else ""
      raise errors.ConfigError(f"'{arg}' is not understood here; options are written name=value{folder}.")
    if name in taken:
      raise errors.ConfigError(f"'{arg}': {name} is a flag; write --{arg}.")
    found[name] = config_lib.parse(text)
  return found


def options(functions: Sequence[Callable[..., object]], args: Sequence[str], taken: Container[str]
            ) -> dict[str, object]:
  """`pairs` as keyword arguments that go through functions, each of which passes on what is not its own."""
  found = pairs(args, taken)
  for function in functions:
    errors.check_options(function, found, "this command", without=taken)
  return found


def is_set(fv: flags.FlagValues, name: str) -> bool:
  """Whether a flag is another than its default."""
  return fv[name].value != fv[name].default


def together(fv: flags.FlagValues, needs: Mapping[str, str], apart: Sequence[tuple[str, str]] = ()) -> None:
  """Raises ConfigError for a flag that nothing would read.

  Args:
    fv: flags of a verb.
    needs: {flag: the other flag that it belongs to}.
    apart: pairs of flags of which one is not read where the other is set.
  """
  for name, other in needs.items():
    if is_set(fv, name) and not is_set(fv, other):
      raise errors.ConfigError(f"--{name} belongs to --{other}: add --{other}, or leave --{name} out.")
  for pair in apart:
    if all(is_set(fv, name) for name in pair):
      raise errors.ConfigError("--{} and --{} do not go together: leave one of them out.".format(*pair))


def read_by(fv: flags.FlagValues, readers: Mapping[str, Container[str]], kind: str, what: str) -> None:
  """Raises ConfigError for a flag that runs of a kind do not read.

  Args:
    fv: flags of a verb.
    readers: {flag: kinds that read it}.
    kind: one of them.
    what: the run, in the message.
  """
  for name, kinds in readers.items():
    if kind not in kinds and is_set(fv, name):
      raise errors.ConfigError(f"--{name} changes nothing for {what}: leave it out.")


def no_words(args: Sequence[str], taken: Container[str]) -> None:
  """Raises ConfigError where words follow a verb that takes flags only."""
  for word in args:
    name = word.partition("=")[0]
    raise errors.ConfigError(f"'{word}' is not understood here" + (
        f": {name} is a flag; write --{word}." if name in taken else "; only flags follow this command."))
