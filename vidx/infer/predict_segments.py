"""What new long videos show: from files of features, or videos and a trunk that gives them, to segments."""

from collections.abc import Mapping, Sequence
import os
import tempfile
from typing import Any

import numpy as np

from vidx import errors, writing
from vidx.data import feature_files
from vidx.data.records import Dataset, Media, Record
from vidx.infer import load, unlabelled
from vidx.infer import timelines as segments_lib
from vidx.tasks import timelines
from vidx.tasks.base import FRAMES
from vidx.terminal import counted

OPTIONS = ("trunk", "window", "stride")  # of `predict`, beside runs and files


def applies(loaded: load.Loaded) -> bool:
  """Whether a run labels the frames of sequences of features."""
  return "features" in getattr(loaded.model, "inputs", ())


def predict(loaded: load.Loaded, files: Sequence[str], *, trunk: str = "", window: int = 21, stride: int = 1
            ) -> list[dict[str, Any]]:
  """Labels the frames of videos.

  Args:
    loaded: the run.
    files: .npy files of features, or videos.
    trunk: workdir of the trunk from which the features of videos come, as `vidx data features` makes them.
    window: of that trunk, in frames.
    stride: frames of a video per row of features.

  Returns:
    One entry per file: {'path', 'error': None or the reason why it cannot be read,
    'segments' (see `timelines.segments_of`)}, and what `timelines.entry` gives.

  Raises:
    ConfigError: videos without a trunk, or a trunk whose features have another size.
  """
  videos = [f for f in files if not f.endswith(".npy")]
  if videos and not trunk:
    raise errors.ConfigError(f"{videos[0]} is no .npy file of features; name the trunk that gives those of videos with"
                             " --trunk=WORKDIR.")
  with tempfile.TemporaryDirectory(prefix="vidx-features-") as folder:
    records, rates, failures = [], {}, {}
    extractor = _extractor(trunk, window, stride, loaded.config.data.feature_size) if videos else None
    for i, file in enumerate(files):
      try:
        path = file
        if not file.endswith(".npy"):
          path = os.path.join(folder, f"{i}.npy")
          rows, fps, frames = extractor(file)
          writing.write_array(path, rows)
          rates[file] = (fps, frames)
        records.append(_record(file, path, loaded.config.data.feature_size))
      except errors.DecodeError as e:
        failures[file] = str(e)
    rows = {}
    if records:
      dataset = Dataset("paths", "predict", tuple(records), loaded.classes, multilabel=True)
      result = unlabelled.evaluated(loaded, dataset, 1)  # of one video the length is the best
      failures.update(result.failures)
      rows = {records[int(i)].id: row for row, i in enumerate(result.predictions["index"])}
  return [_entry(file, result.predictions, rows[file], loaded.classes, *rates.get(file, (None, 0)),
                 stride if file in rates else 1) if file in rows else
          {"path": file, "segments": [], "error": failures[file]} for file in files]


def _extractor(trunk: str, window: int, stride: int, size: int) -> Any:
  from vidx.infer import features  # opens the video libraries
  extractor = features.Extractor(load.load_checkpoint(trunk), window, stride)
  if extractor.size != size:
    raise errors.ConfigError(f"--trunk={trunk} gives {counted(extractor.size, 'feature')} per frame, but the run was"
                             f" trained on {size}.")
  return extractor


def _record(name: str, path: str, size: int) -> Record:
  """A record without annotation.

  Raises:
    DecodeError: the file is no array of so many features per frame.
  """
  try:
    shape = feature_files.array_shape(path)
  except errors.DataError as e:
    raise errors.DecodeError(str(e)) from e
  if shape is None:
    raise errors.DecodeError(f"features {path} cannot be read: no such file, or no .npy file.")
  if size not in shape:
    raise errors.DecodeError(f"features {path}: of shape {shape}, but the run was trained on {size} per frame.")
  axis = 0 if shape[1] == size else 1
  return Record(name, Media(path, "features"), (), extra={"transcript": (), "runs": (), "time_axis": axis,
                                                          "frames": shape[axis]})


def _entry(file: str, predictions: Mapping[str, Any], row: int, classes: Sequence[str], fps: float | None, frames: int,
           stride: int) -> dict[str, Any]:
  found = timelines.entry(predictions, row, classes)
  confidence = np.asarray(predictions[FRAMES + "confidence"][row])
  parts = segments_lib.segments_of(found, confidence, fps, stride, frames)
  return {"path": file, "error": None, "segments": parts, **found}
