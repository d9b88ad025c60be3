"""The end of `vidx predict`, whatever a run predicts: it is printed, and drawn or written to files."""

from collections.abc import Callable, Mapping, Sequence
import sys
from typing import Any

from vidx import errors, terminal
from vidx.infer import predict


def tell(found: Sequence[Mapping[str, Any]], *, json: bool, out: str = "", draw: Callable[[], str] | None = None,
         drawn: str = "page", table: Callable[[Sequence[Mapping[str, Any]]], str] = predict.to_table) -> int:
  """Prints predictions, and draws them or writes them to files.

  Args:
    found: an entry per file or text, with 'error'.
    json: whether JSON is printed, in place of a table.
    out: the file to write where nothing is drawn, see `predict.write`; '': none.
    draw: draws them; the path of what it writes.
    drawn: what that is called.
    table: the predictions for a terminal.

  Returns:
    The exit status: 2 where there is nothing but errors, 1 where some files cannot be read; each has a line of its own.
  """
  if json or not all(entry["error"] for entry in found):
    print(predict.to_json(found) if json else table(found))
  failures = unread(found)
  for path, reason in failures.items():
    print(f"cannot be read: {path}: {terminal.line(reason).removeprefix(f'{path}: ')}", file=sys.stderr)
  if draw is not None:
    print(f"{drawn}: {draw()}", file=sys.stderr if json else sys.stdout)
  elif out:
    predict.write(found, out)
  return max(errors.status(entry["error"] for entry in found), int(bool(failures)))


def unread(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
  """{path: why it cannot be read} of predictions."""
  some = lambda entry: {entry["path"]: "; ".join(entry["problems"])} if entry.get("problems") else {}
  of = lambda entry: {entry["path"]: entry["error"]} if entry["error"] else {**entry.get("failures", {}), **some(entry)}
  return {path: reason for entry in found for path, reason in of(entry).items()}
