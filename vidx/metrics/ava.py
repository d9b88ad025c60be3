"""AVA's frame mAP, from csv files in AVA's own formats.

Gu et al.: "AVA: A Video Dataset of Spatio-temporally Localized Atomic Visual Actions",
2018. A row is `video, second, x0, y0, x1, y1, action` with corners in 0..1; behind it the
truth may name a person, and a prediction has its score. A row of video and second alone
says that nothing is there.
"""

from collections.abc import Iterator, Sequence
import csv
import math
import os
import re

import numpy as np

from vidx import errors
from vidx.metrics import boxes as boxes_lib
from vidx.metrics.ranking import mean_known
from vidx.terminal import counted

Path = str | os.PathLike[str]
ROW = "video, second, x0, y0, x1, y1, action"


def read_action_list(path: Path) -> dict[int, str]:
  """Names of actions by id, from a list in AVA's text form: items of `name` (or `label_name`) and `id` (or `label_id`).

  Raises:
    DataError: the file is missing or lists nothing.
  """
  text = "\n".join(_lines(path))
  names = {}
  for item in re.findall(r"(?:item|label)\s*:?\s*\{(.*?)\}", text, re.DOTALL):
    name = re.search(r'\b(?:label_)?name\s*:\s*(["\'])(.*?)\1', item)
    number = re.search(r"\b(?:label_)?id\s*:\s*(\d+)", item)
    if not name or not number:
      raise errors.DataError(f"'{path}': an item without a name and an id: {' '.join(item.split())!r}.")
    names[int(number.group(1))] = name.group(2)
  if not names:
    raise errors.DataError(f"'{path}' lists no action; it should hold items with a name and an id.")
  return names


def read_excluded(path: Path) -> set[tuple[str, int]]:
  """(video, second) pairs of a csv.

  Raises:
    DataError: the file is missing, or a row is no video and second.
  """
  return {(row[0], second_of(row[1], where)) for where, row in rows(path, (2,), "video, second")}


def read_rows(path: Path, scored: bool) -> Iterator[tuple[str, int, tuple[float, ...] | None, int, float]]:
  """(video, second, box or None, action, score or person) of a csv.

  Args:
    path: of the file.
    scored: whether rows of a box must end with a score, as those of predictions.

  Raises:
    DataError: the file is missing, or a row is none of those of the formats.
  """
  wanted = (2, 8) if scored else (2, 7, 8)
  for where, row in rows(path, wanted, ROW + (", score" if scored else " and perhaps a person")):
    second = second_of(row[1], where)
    if len(row) == 2:
      yield row[0], second, None, 0, math.nan
      continue
    box, numbers = box_of(row[2:6], where), numbers_of(row[6:], where)
    action = numbers[0]
    if not math.isfinite(action) or action != int(action):
      raise errors.DataError(f"{where}: action '{row[6]}' is not a whole number.")
    if scored and math.isnan(numbers[1]):
      raise errors.DataError(f"{where}: the score is not a number.")
    yield row[0], second, box, int(action), numbers[1] if len(numbers) > 1 else math.nan


def evaluate(ground_truth_csv: Path, predictions_csv: Path, action_list: Path | None = None,
             exclude: Path | None = None, capacity: int = 0) -> dict[str, float]:
  """Frame mAP at an overlap of 0.5, in percent.

  See `average_precisions`.

  Args:
    ground_truth_csv: of boxes.
    predictions_csv: of boxes with scores.
    action_list: the actions to score, with names; rows of others are left out. None: those of the ground truth.
    exclude: csv of seconds to leave out of both.
    capacity: so many predictions of a frame count, the best of those of scored actions; 0: all, as in PySlowFast.
      The script of the ActivityNet challenge has 50, fewer than a frame has actions, so that its figures are lower.

  Returns:
    'mAP', the mean over actions that occur, and 'AP/NAME' of each, where NAME is that of the list or the action's id,
    and both where the list has a name twice; nan where an action does not occur.

  Raises:
    DataError: a file is missing or has a row of another form.
  """
  names = None if action_list is None else read_action_list(action_list)
  left_out = read_excluded(exclude) if exclude is not None else set()
  keys: dict[tuple[str, int], int] = {}
  known = lambda rows: [row for row in rows if row[2] is not None and row[:2] not in left_out
                        and (names is None or row[3] in names)]
  truth = known(read_rows(ground_truth_csv, False))
  if names is None:
    names = {action: str(action) for action in sorted({row[3] for row in truth})}
  found = known(read_rows(predictions_csv, True))
  place = {action: i for i, action in enumerate(sorted(names))}

  def gathered(rows):
    frame = [keys.setdefault(row[:2], len(keys)) for row in rows]
    return boxes_lib.Boxes(np.array(frame, int), np.array([row[2] for row in rows], float).reshape(-1, 4),
                           np.array([place[row[3]] for row in rows], int), np.array([row[4] for row in rows], float))

  each = average_precisions(gathered(found), gathered(truth), len(place), capacity)
  twice = {name for name in names.values() if list(names.values()).count(name) > 1}
  shown = lambda action: f"{names[action]} ({action})" if names[action] in twice else names[action]
  return {"mAP": mean_known(each), **{f"AP/{shown(action)}": float(each[i]) for action, i in place.items()}}


def average_precisions(found: boxes_lib.Boxes, truth: boxes_lib.Boxes, classes: int, capacity: int = 0) -> np.ndarray:
  """Average precision of every action at an overlap of 0.5, float64 (classes,): percent, nan where it does not occur.

  A prediction is a hit of the true box of highest overlap in its frame, where that is
  not taken yet. Predictions in frames without a true box count as false; boxes without
  area are left out of the predictions. See `evaluate` for `capacity`.
  """
  rows = (found.box[:, 2:] > found.box[:, :2]).all(1)
  if capacity:
    order = np.lexsort((-found.score, found.frame))  # of equal scores the first
    frame = found.frame[order]
    rows[order[np.arange(len(order)) - np.searchsorted(frame, frame) >= capacity]] = False
  found = boxes_lib.Boxes(found.frame[rows], found.box[rows], found.label[rows], found.score[rows])
  return boxes_lib.average_precisions(found, truth, classes, rule="best")


def _lines(path: Path) -> list[str]:
  try:
    with open(path, encoding="utf-8-sig", newline="") as f:
      return f.read().splitlines()
  except (OSError, UnicodeDecodeError) as e:
    raise errors.DataError(f"'{path}' cannot be read: {getattr(e, 'strerror', None) or 'it is not text'}.") from None


def rows(path: Path, lengths: tuple[int, ...], form: str) -> Iterator[tuple[str, list[str]]]:
  """(place for messages, stripped values) of every row of a csv that is not blank.

  Args:
    path: of the file.
    lengths: numbers of values that a row may have.
    form: what a row is, for the message about another length.

  Raises:
    DataError: the file is missing, or a row has another length.
  """
  for number, row in enumerate(csv.reader(_lines(path)), 1):
    row = [x.strip() for x in row]
    if not any(row):
      continue
    where = f"'{path}', line {number}"
    if len(row) not in lengths:
      raise errors.DataError(f"{where}: {counted(len(row), 'value')}; a row is {form}.")
    yield where, row


def box_of(texts: Sequence[str], where: str) -> tuple[float, ...]:
  """x0, y0, x1, y1.

  Raises:
    DataError: they are no numbers, or the corners are swapped.
  """
  box = tuple(numbers_of(texts, where))
  if not all(map(math.isfinite, box)):
    raise errors.DataError(f"{where}: the box has a corner that is not a number.")
  if box[0] > box[2] or box[1] > box[3]:
    raise errors.DataError(f"{where}: the corners of the box are swapped; write x0, y0, x1, y1.")
  return box


def numbers_of(texts: Sequence[str], where: str) -> list[float]:
  """Values as numbers, nan where nothing stands; DataError where something else does."""
  try:
    return [float(x or "nan") for x in texts]
  except ValueError:
    raise errors.DataError(f"{where}: a value is not a number; a row is {ROW}.") from None


def second_of(text: str, where: str) -> int:
  """A whole second; DataError where it is none."""
  try:
    if (second := float(text)) == int(second):
      return int(second)
  except (ValueError, OverflowError):
    pass
  raise errors.DataError(f"{where}: second '{text}' is not a whole number.")
