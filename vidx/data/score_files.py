"""`vidx data scores`: published class scores of frames as features, in the layout of the reader `ms_tcn`.

Lea et al.: "Temporal Convolutional Networks for Action Segmentation and Detection",
CVPR 2017, give for 50Salads a .mat file per fold with the cells S (scores, frames x
classes) and Y (true class ids) of its test videos; 0 is background. The
files do not name their videos, so these are called after fold and place.
"""

import glob
import os
from typing import Any

import numpy as np

from vidx import errors, reading, writing
from vidx.data import mat_files
from vidx.data.datasets import common
from vidx.terminal import counted


def convert(root: str, out: str, names: str = "") -> dict[str, Any]:
  """Writes features/, groundTruth/, mapping.txt and splits/ of all folds.

  Args:
    root: folder of N.mat or Split_N.mat files, N from 1 on: the test videos of fold N.
    out: folder to write.
    names: file of the names of the classes from 1 on, one a line; without it they are called by number.

  Returns:
    {'folds', 'videos', 'frames', 'classes', 'features'}: how many.

  Raises:
    DataError: no such files, or files of another content.
  """
  paths = sorted((int(stem), p) for p in glob.glob(os.path.join(glob.escape(root), "*.mat"))
                 if (stem := os.path.basename(p).removesuffix(".mat").removeprefix("Split_")).isdecimal())
  if not paths:
    raise errors.DataError(f"{root} holds no score files 1.mat, 2.mat, ... or Split_1.mat, ...; name one method's"
                           " folder.")
  folds: dict[int, list[str]] = {}
  arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}
  for fold, path in paths:
    videos = _read(path)
    folds[fold] = [f"{fold}-{i:02d}" for i in range(1, len(videos) + 1)]
    arrays.update(zip(folds[fold], videos))
  sizes = sorted({s.shape[1] for s, _ in arrays.values()})
  classes = 1 + max(int(y.max()) for _, y in arrays.values())
  if len(sizes) > 1:
    raise errors.DataError(f"{root}: its videos have {', '.join(map(str, sizes))} scores per frame; they are not of"
                           " one method.")
  listed = ("background", *(common.read_classes(names) if names else (f"class_{i}" for i in range(1, classes))))
  if len(listed) < classes:
    raise errors.DataError(f"{names}: {counted(len(listed) - 1, 'name')} for {counted(classes - 1, 'class')} besides"
                           " the background.")
  lines = lambda name, of: writing.write_lines(os.path.join(out, name), of)
  lines("mapping.txt", [f"{i} {name}" for i, name in enumerate(listed)])
  for video, (scores, labels) in arrays.items():
    writing.write_array(os.path.join(out, "features", f"{video}.npy"), scores.T.astype(np.float32))
    lines(f"groundTruth/{video}.txt", [listed[c] for c in labels])
  for fold, test in folds.items():
    lines(f"splits/test.split{fold}.bundle", [f"{v}.txt" for v in test])
    lines(f"splits/train.split{fold}.bundle", [f"{v}.txt" for v in arrays if v not in test])
  return {"folds": len(folds), "videos": len(arrays), "frames": sum(len(y) for _, y in arrays.values()),
          "classes": len(listed), "features": sizes[0]}


def _read(path: str) -> list[tuple[np.ndarray, np.ndarray]]:
  """(scores (T, C), class ids (T,)) of the videos of a file."""
  with reading.boundary(f"{path} is no .mat file with the cells S and Y"):
    cells = mat_files.load(path)
    videos = [(np.asarray(s, np.float64), np.asarray(y).ravel().astype(np.int64))
              for s, y in zip(cells["S"].ravel(), cells["Y"].ravel(), strict=True)]
  for i, (scores, labels) in enumerate(videos, 1):
    if scores.ndim != 2 or len(scores) != len(labels) or labels.min(initial=0) < 0:
      raise errors.DataError(f"{path}, video {i}: scores of shape {scores.shape} for {counted(len(labels), 'label')}.")
    common.check_id(int(labels.max(initial=0)), f"{path}, video {i}")
  return videos
