"""What the program prints: names of files and classes may hold anything, and whoever reads may go away.

A name with an escape sequence in it would clear the screen or write into its title; one
that is not UTF-8 would end the program that prints it.
"""

import io
import os
import sys
from typing import TextIO

# Controls of the terminal, ends of lines that are none to `split("\n")`, marks that turn the direction of text round,
# and bytes that are not UTF-8, as Python has them in names of files.
_HIDDEN = (*range(0x7f, 0xa0), 0x2028, 0x2029, 0x200e, 0x200f, *range(0x202a, 0x202f), *range(0x2066, 0x206a),
           *range(0xd800, 0xe000))
_ESCAPES = {**{i: f"\\x{i:02x}" for i in range(32)}, **{i: f"\\u{i:04x}" for i in _HIDDEN}}
_OF_LINES = {**_ESCAPES, ord("\n"): "\\n", ord("\t"): " "}
_OF_TEXT = {k: v for k, v in _ESCAPES.items() if chr(k) not in "\n\t"}


def shown(text: str) -> str:
  """Text as it may be printed: with controls as escapes, which are valid in strings of JSON too."""
  return text.translate(_OF_TEXT)


def line(text: str) -> str:
  """Text as one line, as it may be printed; ends of lines inside of it are written as escapes."""
  return text.strip("\n").translate(_OF_LINES)


def counted(count: int, noun: str) -> str:
  """'1 clip', '1,200 clips', '2 classes', '0 key frames': how many there are of what a noun names."""
  return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith(('s', 'x', 'ch')) else 's'}"


class Stream(io.TextIOWrapper):
  """Prints text as `shown`.

  Attributes:
    patient: whether printing goes on, into nothing, when nobody reads any more; else BrokenPipeError is raised once.
  """

  patient = False

  def write(self, text: str) -> int:
    try:
      super().write(shown(text))
    except BrokenPipeError:
      self._drop()
    return len(text)

  def flush(self) -> None:
    try:
      super().flush()
    except BrokenPipeError:
      self._drop()

  def _drop(self) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, self.fileno())
    os.close(nothing)
    if not self.patient:
      raise BrokenPipeError(32, os.strerror(32))


def guard() -> None:
  """From now on the program prints through `Stream`."""
  for name in ("stdout", "stderr"):
    stream = getattr(sys, name)
    if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, Stream):
      encoding, by_line, through = stream.encoding, stream.line_buffering, stream.write_through
      setattr(sys, name, Stream(stream.detach(), encoding, "backslashreplace", line_buffering=by_line,
                                write_through=through))


def go_on_unread() -> None:
  """What is printed from now on may stay unread: a training outlives the terminal, or the program, that shows it."""
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, Stream):
      stream.patient = True


def drawing(stream: TextIO) -> TextIO:
  """The same stream for a program's own escape sequences, such as those of a bar of progress."""
  if not isinstance(stream, Stream):
    return stream
  return open(stream.fileno(), "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
