"""Builds a Toybox data set: renders, encodes and annotates."""

from collections.abc import Sequence
import concurrent.futures
import multiprocessing
import os
from typing import Any

from vidx import errors
from vidx.data.toybox import labels as label_sets
from vidx.data.toybox import layouts

SIZE = (64, 64)
COUNTS = {"motion": (960, 160, 0), "appearance": (640, 160, 0), "biased": (400, 160, 0), "tags": (640, 160, 0)}


def build(out: str, labels: str = "motion", layout: str = "", split: Sequence[int] | None = None,
          size: tuple[int, int] = SIZE, frames: int = 24, fps: float = 12.0, seed: int = 0,
          workers: int = 2) -> dict[str, Any]:
  """Writes videos and annotations; videos that are there already are kept.

  Args:
    out: root of the data set.
    labels: motion, appearance, biased or tags.
    layout: folder, csv, ucf101 or hvu; '' is hvu for tags and folder for the others.
    split: numbers of training, validation and test videos.
    size: height and width in pixels, even.
    frames: per video.
    fps: frames per second.
    seed: of everything random.
    workers: processes; 1 works in this process.

  Returns:
    {'root', 'videos', 'rendered', 'classes'}.

  Raises:
    ConfigError: names or numbers that cannot be used.
    DataError: `out` cannot be written.
  """
  chosen = label_sets.get(labels)
  layout = layout or ("hvu" if chosen.multilabel else "folder")
  layouts.check(layout, chosen.multilabel)
  if not out:
    raise errors.ConfigError("no folder to write: add --out=FOLDER.")
  if len(size) != 2 or any(s % 2 or s < 16 for s in size) or frames < 1 or fps <= 0:
    raise errors.ConfigError(f"Toybox: size {size} must be two even numbers of at least 16; frames and fps positive.")
  counts = tuple(split) if split is not None else COUNTS[labels]
  entries = []
  for name, count in zip(label_sets.SPLITS, counts):
    for index in range(count):
      label = label_sets.scene_of(labels, name, index, frames, seed)[1] if chosen.multilabel else (
          index % len(chosen.classes))
      entries.append(layouts.Entry(name, index, label, frames / fps))
  jobs = []
  for e in entries:
    path = os.path.join(out, layouts.path_of(layout, chosen.classes, e))
    if not os.path.exists(path):
      jobs.append((path, labels, e.split, e.index, tuple(size), frames, fps, seed))
  try:
    os.makedirs(out, exist_ok=True)
    if workers > 1 and len(jobs) > 16:
      with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(make, jobs, chunksize=8))
    else:
      for job in jobs:
        make(job)
    layouts.write(layout, out, chosen.classes, entries)
  except OSError as e:
    raise errors.DataError(f"cannot write Toybox to {out}: {e.strerror or e}.") from e
  return {"root": out, "videos": len(entries), "rendered": len(jobs), "classes": len(chosen.classes)}


def make(job: tuple) -> None:
  """Renders and writes one video."""
  from vidx.data.toybox.render import RATE, render, sound
  from vidx.data.toybox.write import write_video
  path, labels, split, index, size, frames, fps, seed = job
  scene, _ = label_sets.scene_of(labels, split, index, frames, seed)
  write_video(path, render(scene, size), fps, sound(scene, fps), RATE)
