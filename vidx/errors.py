"""Errors that a user can cause: each message is one line that says what, where and what to do."""

from collections.abc import Iterable
import difflib


class UserError(Exception):
  """A mistake or a fault outside the program; the command line prints it and exits with its status."""

  status = 2


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


def nearest(word: str, words: Iterable[str]) -> str | None:
  """The entry of `words` most alike to `word`, or None where none is close."""
  found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
  return found[0] if found else None


def check_choice(field: str, value: str, known: Iterable[str]) -> None:
  """Raises ValueError where a field of a system has a value that is not known; the nearest is named."""
  known = tuple(known)
  if value not in known:
    raise ValueError(f"{field} = '{value}' is not one of {', '.join(known)}{hint(value, known)}")


def hint(word: str, words: Iterable[str]) -> str:
  """' (nearest: ...)' for a message, empty where nothing is close."""
  near = nearest(word, words)
  return f" (nearest: '{near}')" if near else ""
