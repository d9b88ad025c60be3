"""What new videos show: from paths to class names with scores."""

from collections.abc import Iterable, Mapping, Sequence
import csv
import io
import json
import os
from typing import Any

import jax
from ml_collections import ConfigDict

from vidx import errors, terminal, writing
from vidx.data import detections, media_files
from vidx.data.records import LABEL, SOUNDS, Dataset, Media, Record, media_of
from vidx.infer import (
    captions, chosen_frames, found_boxes, load, predict_boxes, predict_people, predict_segments, retrieve, timelines,
    unlabelled)
from vidx.train import evaluator as evaluator_lib

FEW = 64  # files for which threads of this process are ready sooner than decoding processes
_APART = ("rows", "memory")  # of entries, what is no part of the JSON: lines of AVA's format, and arrays
_CLASSES = ("predictions", "verb", "noun", "action")  # classes with scores


def predict(workdir: str, paths: str | os.PathLike | Iterable[str | os.PathLike], *, clips: int = 1, crops: int = 1,
            top: int = 5, batch_size: int = 8, step: int | str | None = None,
            save: str = "", **features: Any) -> list[dict[str, Any]]:
  """Predicts classes of videos with a trained run, as its evaluation would; segments, where it labels frames.

  Args:
    workdir: folder of the run.
    paths: files, folders of frames, folders (searched recursively) and globs.
    clips: temporal clips per video.
    crops: spatial crops per clip: 1, 3 or 5.
    top: classes per video.
    batch_size: videos per batch.
    step: which checkpoint, as in `load_checkpoint`.
    save: name under which the result is written as WORKDIR/predictions/<save>.json.
    **features: of a run that labels frames, `trunk`, `window` and `stride`: see
      `vidx.infer.predict_segments.predict`, also for the entries of such a run; of one that tells what people in
      boxes do, `boxes`: see `vidx.infer.predict_people.predict`; of one that finds boxes, `windows`, `threshold` and
      `memory`: see `vidx.infer.predict_boxes.predict`.

  Returns:
    One entry per file in the order of `paths`: {'path', 'predictions':
    [{'label', 'score'}, ...] from the highest score, 'error': None or the reason
    why the file cannot be decoded}; of a system that chooses frames also 'frames':
    [{'frame': its number in the video, 'weight'}, ...], the best first; of one that hears 'sound', whether it could.

  Raises:
    CheckpointError: no trained run in `workdir`.
    DataError: `paths` match nothing.
  """
  loaded = load.load_checkpoint(workdir, step)
  found = predict_loaded(loaded, paths, clips=clips, crops=crops, top=top, batch_size=batch_size, **features)
  if save and jax.process_index() == 0:
    write(found, os.path.join(workdir, "predictions", f"{save}.json"))
  return found


def check_asked(loaded: load.Loaded) -> None:
  """Raises ConfigError for a run that takes more than videos, or none."""
  system, task = loaded.config.system.name, loaded.config.task.name
  if retrieve.applies(loaded):
    raise errors.ConfigError(f"system '{system}' ranks videos for a text: add --text='...'.")
  if task in ("grounding", "next_word"):
    needs = "grounds a phrase: add --phrase='...'" if task == "grounding" else "sees no videos"
    raise errors.ConfigError(f"system '{system}' {needs}.")
  if task == "generation":
    raise errors.ConfigError(f"system '{system}' makes images of two folders: use `vidx generate --identities=FOLDER"
                             " --poses=FOLDER`.")


def predict_loaded(loaded: load.Loaded, paths: Any, *, clips: int = 1, crops: int = 1, top: int = 5,
                   batch_size: int = 8, **features: Any) -> list[dict[str, Any]]:
  """`predict` with a run that is loaded already."""
  if top < 1:
    raise errors.ConfigError(f"top={top}: at least 1 class per video.")
  whole = any(part.applies(loaded) for part in (captions, predict_people, predict_boxes, predict_segments))
  if whole and (clips, crops) != (1, 1):
    raise errors.ConfigError(f"clips={clips} and crops={crops} change nothing for system '{loaded.config.system.name}':"
                             " leave them out.")
  endings = media_files.FEATURES + media_files.VIDEOS if predict_segments.applies(loaded) else media_files.VIDEOS
  if "video" not in loaded.model.inputs and "audio" in loaded.model.inputs:
    endings = media_files.VIDEOS + SOUNDS
  check_asked(loaded)
  boxes = features.pop("boxes", "")
  check_boxes(loaded, boxes)
  known = (predict_boxes.OPTIONS if predict_boxes.applies(loaded) else
           predict_segments.OPTIONS if predict_segments.applies(loaded) else ())
  for name in features:
    if features[name] and name not in known:
      raise errors.ConfigError(f"system '{loaded.config.system.name}' does not read {name}={features[name]!r}: leave it"
                               " out.")
  features = {name: value for name, value in features.items() if name in known}
  if captions.applies(loaded):
    return captions.predict(loaded, paths, batch_size=batch_size)
  files = media_files.find(paths, endings)
  if predict_people.applies(loaded):
    return predict_people.predict(loaded, files, boxes=boxes, top=top, batch_size=batch_size)
  if predict_boxes.applies(loaded):
    return predict_boxes.predict(loaded, files, **features)
  if predict_segments.applies(loaded):
    return predict_segments.predict(loaded, files, **features)
  config, dataset = as_split(loaded, files)
  if chosen_frames.applies(loaded.model, clips, crops):
    result = chosen_frames.predict(loaded.model, loaded.variables, loaded.task, dataset, config, loaded.dtype,
                                   batch_size=min(batch_size, len(files)))
  else:
    result = unlabelled.evaluated(loaded, dataset, batch_size, config, clips=clips, crops=crops)
  row = {int(index): i for i, index in enumerate(result.predictions["index"])}
  return [_entry(file, loaded.task, result, row.get(i), top) for i, file in enumerate(files)]


def check_boxes(loaded: load.Loaded, boxes: str) -> None:
  """Raises ConfigError where a file of boxes is named and a run takes none of people."""
  if boxes and not predict_people.applies(loaded):
    raise errors.ConfigError(f"system '{loaded.config.system.name}' takes no boxes of people: leave --boxes out.")


def as_split(loaded: load.Loaded, files: Sequence[str]) -> tuple[ConfigDict, Dataset]:
  """A run's config and, as a split without labels, the files."""
  config = loaded.config.copy_and_resolve_references()
  if len(files) <= FEW:
    config.data.workers = 0
  return config, unlabelled.of_records(loaded, [
      Record(f, media_of(f), companions={"detections": Media(detections.beside(f), "detections")}) for f in files])


def _entry(file: str, task: Any, result: evaluator_lib.EvalResult, row: int | None, top: int) -> dict[str, Any]:
  if row is None:
    return {"path": file, "error": result.failures[file], **task.nothing}
  entry = {"path": file, "error": None, **task.describe(result.predictions, row, result.dataset, top)}
  if "audio_valid" in result.predictions:
    entry["sound"] = bool(result.predictions["audio_valid"][row] > 0)
  if "frames" in result.predictions:
    pairs = zip(result.predictions["frames"][row], result.predictions["weights"][row])
    entry["frames"] = [{"frame": int(frame), "weight": float(weight)} for frame, weight in pairs]
  return entry


def to_json(found: Sequence[Mapping[str, Any]]) -> str:
  """The predictions as JSON text."""
  told = [{key: value for key, value in entry.items() if key not in _APART} for entry in found]
  return json.dumps(told, indent=2, ensure_ascii=False)


def to_table(found: Sequence[Mapping[str, Any]], width: int | None = None) -> str:
  """The predictions as a table for a terminal: one line per video that can be read."""
  from rich import box
  from rich.console import Console
  from rich.table import Table
  from rich import text as rich_text
  Text = lambda words: rich_text.Text(terminal.line(words))
  console = Console(file=io.StringIO(), width=width or max(80, _columns()), highlight=False)
  table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
  table.add_column("video", overflow="fold")
  table.add_column("shows", overflow="fold")
  table.add_column("score", justify="right", no_wrap=True)
  table.add_column("frames" if any("segments" in entry for entry in found) else "then", overflow="fold")
  for entry in found:
    if entry["error"]:
      continue
    if "rows" in entry:
      for when, *texts in predict_people.lines(entry):
        table.add_row(Text(f"{entry['path']}, {when}"), *map(Text, texts))
    elif "count" in entry:
      for row in found_boxes.lines(entry):
        table.add_row(*map(Text, row))
    elif "segments" in entry:
      for i, part in enumerate(entry["segments"]):
        table.add_row(Text(entry["path"] if not i else ""), Text(part["label"]), f"{100 * part['confidence']:.1f} %",
                      Text(f"{part['start']} to {part['end']}"))
    else:
      scored = {k: v for k, v in entry.items() if _is_scored(v)}
      for i, (name, (first, *rest)) in enumerate(scored.items()):
        label = first["label"] if name == "predictions" else f"{name}: {first['label']}"
        table.add_row(Text(entry["path"] if not i else ""), Text(label), f"{100 * first['score']:.1f} %",
                      Text(", ".join(f"{p['label']} {100 * p['score']:.1f} %" for p in rest)))
      shown = ((k, v) for k, v in entry.items() if k not in ("path", "error", "gates", *scored))
      if not scored:
        table.add_row(Text(entry["path"]), Text(", ".join(f"{k}: {_short(v)}" for k, v in shown)))
  console.print(table)
  return console.file.getvalue().rstrip()


def to_csv(found: Sequence[Mapping[str, Any]]) -> str:
  """`path,target,rank,label,score`, a line per class of each target of videos that can be read, from rank 1 on."""
  text = io.StringIO()
  rows = csv.writer(text, lineterminator="\n")
  rows.writerow(("path", "target", "rank", "label", "score"))
  for entry in found:
    for name in filter(entry.__contains__, _CLASSES):
      rows.writerows((entry["path"], LABEL if name == "predictions" else name, i + 1, p["label"], f"{p['score']:.6f}")
                     for i, p in enumerate(entry[name]))
  return text.getvalue()


# Entries with one of these keys also become a csv.
_TABLES = {"segments": timelines.to_csv, "caption": captions.to_csv, "rows": predict_people.to_csv,
           "count": found_boxes.to_csv, **dict.fromkeys(_CLASSES, to_csv)}


def has_table(task: Any) -> bool:
  """Whether what a task tells of a video by itself, without boxes or captions, also becomes a csv."""
  return not _TABLES.keys().isdisjoint(task.nothing)


def _is_scored(value: Any) -> bool:
  """Whether a prediction is a list of classes with scores."""
  return isinstance(value, list) and bool(value) and all(
      isinstance(p, Mapping) and {"label", "score"} <= set(p) for p in value)


def _short(value: Any, most: int = 60) -> str:
  """A prediction on one line."""
  text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
  return text if len(text) <= most else text[:most - 3] + "..."


def _columns() -> int:
  import shutil
  return shutil.get_terminal_size((120, 24)).columns


def write(found: Sequence[Mapping[str, Any]], path: str) -> None:
  """Writes predictions in one piece: as JSON, of some kinds (see `_TABLES`) also as .csv beside it, or to a .csv alone.
  """
  stem, ending = os.path.splitext(path)
  table = ending.lower() == ".csv"
  if not table:
    writing.write_text(path, to_json(found) + "\n")
  for key, as_csv in _TABLES.items():
    if any(key in entry for entry in found):
      writing.write_text(path if table else f"{stem}.csv", as_csv(found))
      break
