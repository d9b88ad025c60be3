"""Errors that a user can cause: each message is one line that says what, where and what to do."""

from collections.abc import Callable, Container, Iterable, Mapping
import difflib
import inspect
import math
import numbers
from typing import Any, NamedTuple

from vidx import terminal


class UserError(Exception):
  """A mistake or a fault outside the program; the command line prints it and exits with its status.

  Its message is one line even where it quotes what is none, such as a quoted cell of a table; see `terminal.line`.
  """

  status = 2

  def __str__(self) -> str:
    return terminal.line(super().__str__())


class ConfigError(UserError):
  """A configuration or flag that cannot be used as given."""


class DataError(UserError):
  """A data set that is missing, empty or broken."""


class AbsentError(DataError):
  """A split that the data set does not have."""


class DecodeError(DataError):
  """A media file that cannot be decoded; the message names the file and the reason."""


class CheckpointError(UserError):
  """A checkpoint or workdir that does not fit the run."""


def status(failed: Iterable[Any]) -> int:
  """The exit status of a command over several things, by what failed of each: 0, 1 where some did, 2 where all did."""
  found = [bool(f) for f in failed]
  return 0 if not any(found) else 2 if all(found) else 1


def nearest(word: str, words: Iterable[str]) -> str | None:
  """The entry of `words` most alike to `word`, or None where none is close."""
  found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
  return found[0] if found else None


def check_choice(field: str, value: str, known: Iterable[str]) -> None:
  """Raises ConfigError where a key of the config or a flag has a value that is not known; the nearest is named."""
  known = tuple(known)
  if value not in known:
    raise ConfigError(f"{field} '{value}' is not one of {', '.join(filter(None, known))}{hint(value, known)}.")


def hint(word: str, words: Iterable[str]) -> str:
  """' (nearest: ...)' for a message, empty where nothing is close."""
  near = nearest(word, words)
  return f" (nearest: '{near}')" if near else ""


class Range(NamedTuple):
  """Numbers that a key may have, the least and the largest among them.

  Attributes:
    least: smallest one.
    most: largest one; `math.inf` for any.
    below: only smaller ones than `most`, which leaves out infinity where that is `most`.
    above: only larger ones than `least`.
  """

  least: float
  most: float = math.inf
  below: bool = False
  above: bool = False

  def holds(self, value: float) -> bool:
    return ((value > self.least if self.above else value >= self.least)
            and (value < self.most if self.below else value <= self.most))

  def __str__(self) -> str:
    least, most = f"{self.least:g}", f"{self.most:.10g}"
    if self.most == math.inf:
      return f"above {least}" if self.above else f"from {least} on"
    if self.above or self.below:
      return f"{f'above {least}' if self.above else f'from {least} on'}, {'below' if self.below else 'at most'} {most}"
    return f"from {least} to {most}"


def check_ranges(section: Mapping[str, Any], ranges: Mapping[str, Range], prefix: str = "") -> None:
  """Raises ConfigError for a number of a section of the config outside of its range.

  Args:
    section: numbers by name, or sections of them.
    ranges: by name, 'a.b' for b of the section a; names that are not there are passed over.
    prefix: of a name in the message.
  """
  for key, allowed in ranges.items():
    value: Any = section
    for name in key.split("."):
      value = value.get(name) if value is not None else None
    number = isinstance(value, numbers.Real)
    if value is not None and not (number and allowed.holds(value)):
      raise ConfigError(f"{prefix}{key}={f'{value:g}' if number else repr(value)}: write a number {allowed}.")


def check_options(function: Callable[..., Any], options: Mapping[str, Any], whose: str, prefix: str = "",
                  without: Container[str] = ()) -> None:
  """Checks what a user gave as keyword arguments of a function.

  Args:
    function: that is to be called with them; one that takes any (**options) checks the others itself.
    options: values by name.
    whose: of the message: who has, or lacks, the option.
    prefix: of an option's name in the message.
    without: parameters that are no options.

  Raises:
    ConfigError: an option that is none of its parameters (the nearest is named), or no number where the default is one.
  """
  parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in without]
  known = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
  for option, value in options.items():
    if option not in known and len(known) < len(parameters):
      continue
    if option not in known:
      raise ConfigError(f"{prefix}{option}: {whose} has no such option{hint(option, known)}; it has"
                        f" {', '.join(known) or 'none'}.")
    default = known[option]
    for kind, types, what in ((int, numbers.Integral, "a whole number"), (float, numbers.Real, "a number")):
      if type(default) is kind and not isinstance(value, types):
        raise ConfigError(f"{prefix}{option}={value}: {what} is expected, such as {default}.")
