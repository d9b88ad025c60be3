"""What people in boxes of new videos do, second by second: from videos and a file of boxes to actions with scores."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from vidx import errors
from vidx.data.datasets import ava
from vidx.data.frame_boxes import PROPOSED
from vidx.data.records import Record, media_of
from vidx.infer import load, unlabelled
from vidx.terminal import counted

_SCORE = 0.8  # from which on a person counts where the run's config does not say


def applies(loaded: load.Loaded) -> bool:
  """Whether a run tells what people in boxes do."""
  return loaded.config.task.name == "box_actions"


def predict(loaded: load.Loaded, files: Sequence[str], *, boxes: str = "", top: int = 5,
            batch_size: int = 8) -> list[dict[str, Any]]:
  """Tells what people do at every second of which there are boxes.

  Args:
    loaded: the run.
    files: videos and folders of frames.
    boxes: csv of `video, second, x0, y0, x1, y1, [action,] score`, where a video is the name of a file without its
      ending and seconds count from its start (or from `data.dataset.begins` of the run, where that is set); see
      `vidx.data.datasets.ava.read_proposals`.
    top: actions per person.
    batch_size: key frames per batch.

  Returns:
    One entry per file: {'path', 'error': None or the reason why nothing of it can be read, 'frames': [{'second',
    'at': seconds since the start of the file, 'people': see `BoxActions.describe`}], 'problems': why seconds are left
    out, 'rows': the lines of AVA's own format}.

  Raises:
    ConfigError: no file of boxes.
    DataError: it cannot be read, or knows none of the videos.
  """
  config = loaded.config
  if not boxes:
    raise errors.ConfigError(f"system '{config.system.name}' tells what people in boxes do: add --boxes=FILE, a csv of"
                             " video, second, x0, y0, x1, y1, score.")
  begins = max(float(config.data.dataset.get("begins", 0.0)), 0.0)
  least = config.data.dataset.get("score", _SCORE)
  found = ava.read_proposals(boxes, least)
  of = {os.path.splitext(os.path.basename(os.path.normpath(file)))[0]: file for file in files}
  keys = sorted(key for key in found if key[0] in of)
  if not keys:
    unsure = {video for video, _ in ava.read_proposals(boxes)} & set(of)
    raise errors.DataError(
        f"{boxes}: the people of {', '.join(sorted(unsure)[:3])} all have scores below {least:g}, from which on one"
        " counts: set --config.data.dataset.score." if unsure else
        f"{boxes}: no person of {', '.join(list(of)[:3])}; it names {counted(len(found), 'key frame')} of"
        f" {counted(len({video for video, _ in found}), 'other video')}.")
  early = next((key for key in keys if key[1] < begins), None)
  if early is not None:
    raise errors.DataError(f"{boxes}: '{early[0]}' at {early[1]} s lies before its file begins, at {begins:g} s.")
  records = [Record(f"{video},{second:04d}", media_of(of[video]), span=(second - begins,) * 2,
                    extra={"video": video, "second": second,
                           PROPOSED: ava.proposed(*found[video, second], f"{boxes}, '{video}' at {second} s")})
             for video, second in keys]
  dataset = unlabelled.of_records(loaded, records)
  result = unlabelled.evaluated(loaded, dataset, batch_size)
  task = loaded.task.for_dataset(dataset)
  rows = task.files(result.predictions, dataset)[".csv"].splitlines()
  entries = {video: {"path": file, "error": None, "frames": [], "problems": [], "rows": []}
             for video, file in of.items()}
  for row, index in enumerate(result.predictions["index"].tolist()):
    extra = dataset.records[index].extra
    entries[extra["video"]]["frames"].append({
        "second": extra["second"], "at": extra["second"] - begins,
        **task.describe(result.predictions, row, dataset, top)})
    if "audio_valid" in result.predictions:
      entries[extra["video"]]["sound"] = bool(result.predictions["audio_valid"][row] > 0)
  for record in records:
    if record.id in result.failures:
      entries[record.extra["video"]]["problems"].append(f"{record.extra['second']} s: {result.failures[record.id]}")
  for row in rows:
    entries[row.partition(",")[0]]["rows"].append(row)
  for entry in entries.values():
    if not entry["frames"]:
      entry["error"] = next(iter(entry["problems"]), f"{boxes} has no person of it")
  return list(entries.values())


def to_csv(entries: Sequence[Mapping[str, Any]]) -> str:
  """`video, second, x0, y0, x1, y1, action, score` of every person and action, as AVA has it."""
  return "".join(row + "\n" for entry in entries for row in entry["rows"])


def lines(entry: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
  """(when and who, best action, its score, the others) of each person of an entry, for a table."""
  out = []
  for frame in entry["frames"]:
    for i, person in enumerate(frame["people"]):
      first, *rest = person["actions"]
      out.append((f"{frame['second']} s, person {i + 1}", first["label"], f"{100 * first['score']:.1f} %",
                  ", ".join(f"{p['label']} {100 * p['score']:.1f} %" for p in rest)))
  return out
