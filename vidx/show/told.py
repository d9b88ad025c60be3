"""The end of `vidx predict`, whatever a run predicts: it is printed, and drawn or written to files."""

from collections.abc import Callable, Mapping, Sequence
import sys
from typing import Any

from vidx.infer import predict


def tell(found: Sequence[Mapping[str, Any]], *, json: bool, out: str = "", draw: Callable[[], str] | None = None,
         drawn: str = "page", table: Callable[[Sequence[Mapping[str, Any]]], str] = predict.to_table) -> int:
  """Prints predictions, and draws them or writes them to files.

  Args:
    found: an entry per file or text, with 'error'.
    json: whether JSON is printed, in place of a table.
    out: the JSON file to write where nothing is drawn; '': none.
    draw: draws them; the path of what it writes.
    drawn: what that is called.
    table: the predictions for a terminal.

  Returns:
    The exit status: 2 where there is nothing but errors.
  """
  print(predict.to_json(found) if json else table(found))
  if draw is not None:
    print(f"{drawn}: {draw()}", file=sys.stderr if json else sys.stdout)
  elif out:
    predict.write(found, out)
  return 2 if found and all(entry["error"] for entry in found) else 0
