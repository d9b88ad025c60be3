"""Builds a Toybox data set: renders, encodes and annotates."""

from collections.abc import Sequence
import concurrent.futures
import json
import multiprocessing
import numbers
import os
from typing import Any

import numpy as np

from vidx import errors, reading, writing
from vidx.data import detections
from vidx.data.toybox import hands, kitchen, layouts, sentences, tracks
from vidx.data.toybox import labels as label_sets

SIZE = (64, 64)
STAMP = "toybox.json"  # how the videos of a folder were made
COUNTS = {"motion": (960, 160, 0), "appearance": (640, 160, 0), "biased": (400, 160, 0), "tags": (640, 160, 0),
          "needle": (960, 160, 0), "redundant": (960, 160, 0), "cluttered": (640, 160, 0), "untrimmed": (960, 160, 0),
          "kitchen": (80, 24, 0), "noisy_tags": (640, 160, 0), "conjunction": (960, 160, 0), "hands": (960, 160, 0),
          "tones": (960, 160, 0), "beats": (640, 160, 0), "sentences": (960, 160, 0),
          "tracks": (240, 48, 48), "acts": (320, 80, 0), "turntable": (200, 20, 0)}
FEATURES = ("frames", "prototypes")


def build(out: str, labels: str = "motion", layout: str = "", split: Sequence[int] | None = None,
          size: tuple[int, int] = SIZE, frames: int | None = None, fps: float = 12.0, seed: int = 0,
          workers: int = 2, features: str = "frames") -> dict[str, Any]:
  """Writes videos and annotations; videos of an earlier, equal call are kept.

  Args:
    out: root of the data set; new, empty, or written with the same labels,
      layout, size, frames, fps and seed.
    labels: motion, appearance, biased, tags, needle, redundant, cluttered, untrimmed, kitchen, noisy_tags,
      conjunction, hands, tones, beats, sentences, tracks, acts or turntable.
    layout: folder, csv, ucf101, hvu, nn_viterbi, ms_tcn, msrvtt, epic100, imagenet_vid, ava, clips, or coco, which has
      still images of sentences; '' is hvu for sets of tags, nn_viterbi for kitchen, epic100 for hands, msrvtt for
      sentences, imagenet_vid for tracks, ava for acts, clips for turntable and folder for the others.
    split: numbers of training, validation and test videos; classes take turns.
    size: height and width in pixels, even.
    frames: per video, for kitchen those of one of usual length; None is 240 for kitchen, 1 for the layout coco and 24
      for the others.
    fps: frames per second.
    seed: of everything random.
    workers: processes; 0 and 1 work in this process.
    features: of kitchen, from the 'frames' of the video, or 'prototypes' of the true classes under drift and noise.

  Returns:
    {'root', 'videos', 'rendered', 'classes'}.

  Raises:
    ConfigError: names or numbers that cannot be used.
    DataError: `out` cannot be written, or holds something else.
  """
  chosen = label_sets.get(labels)
  layout = layout or chosen.layouts[0]
  layouts.check(layout, labels)
  errors.check_choice("Toybox: features", features, FEATURES)
  frames = (1 if layout == "coco" else chosen.frames) if frames is None else frames
  if not out:
    raise errors.ConfigError("no folder to write: add --out=FOLDER.")
  _check_numbers(size, frames, fps, seed, workers)
  counts = _counts(COUNTS[labels] if split is None else split)
  made = {"labels": labels, "layout": layout, "size": [int(s) for s in size], "frames": int(frames),
          "fps": float(fps), "seed": int(seed), **({"features": features} if layout in layouts.LONG else {})}
  _check_folder(out, made)
  entries = []
  for name, count in zip(label_sets.SPLITS, counts):
    for index in range(count):
      label = label_sets.scene_of(labels, name, index, frames, seed)[1] if chosen.drawn else (
          index % len(chosen.classes))
      entries.append(layouts.Entry(name, index, label, frames / fps, frames, tuple(size)))
  jobs = []
  for e in entries:
    path = os.path.join(out, layouts.path_of(layout, chosen.classes, e))
    if not os.path.exists(path):
      at = layouts.features_of(layout, e)
      jobs.append((path, labels, e.split, e.index, tuple(size), frames, fps, seed, at and os.path.join(out, at),
                   features))
  try:
    os.makedirs(out, exist_ok=True)
    # First, so that a build that is stopped can go on.
    writing.write_lines(os.path.join(out, STAMP), [json.dumps(made)])
    if workers > 1 and len(jobs) > 16:
      with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(make, jobs, chunksize=8))
    else:
      for job in jobs:
        make(job)
    layouts.write(layout, out, chosen.classes, entries)
  except OSError as e:
    raise _unwritten(out, e) from e
  return {"root": out, "videos": len(entries), "rendered": len(jobs), "classes": len(chosen.classes)}


def make(job: tuple) -> None:
  """Renders and writes one video, and before it its features, so that whoever sees the video finds them."""
  from vidx.data.toybox.render import RATE, masks, render, sound
  from vidx.data.toybox.write import write_image, write_images, write_video
  path, labels, split, index, size, frames, fps, seed, features, kind = job
  scene, label = label_sets.scene_of(labels, split, index, frames, seed)
  pictures = render(scene, size)
  try:
    if features:
      [rng] = label_sets.rng_of(labels, split, index, seed).spawn(1)  # other numbers than those that drew the label
      if path.endswith(".png"):
        writing.write_arrays(features, {"masks": masks(scene, size)})
      elif labels == "sentences":
        writing.write_arrays(features, sentences.experts(label, rng))
      elif labels == "tracks":
        tracks.write_xml(features, scene, label, size)
      elif labels == "hands":
        detections.write(features, **hands.detections(scene, size, fps, rng))
      else:
        found = kitchen.describe(pictures) if kind == "frames" else kitchen.prototype_features(
            kitchen.frame_labels(label), rng)
        writing.write_array(features, np.ascontiguousarray(found.T))
    if path.endswith(".png"):
      return write_image(path, pictures[0])
    if labels == "tracks":
      return write_images(path, pictures, tracks.IMAGES)
    if labels == "turntable":
      return write_images(path, pictures)
    write_video(path, pictures, fps, sound(scene, fps), RATE)
  except OSError as e:  # PyAV's errors do not travel from a process to another
    raise _unwritten(path, e) from None


def _unwritten(where: str, e: OSError) -> errors.DataError:
  return errors.DataError(f"cannot write Toybox to {where}: {e.strerror or e}.")


def _whole(value: Any, least: int) -> bool:
  return isinstance(value, numbers.Integral) and value >= least


def _check_numbers(size: Any, frames: Any, fps: Any, seed: Any, workers: Any) -> None:
  pair = isinstance(size, (tuple, list)) and len(size) == 2
  if not pair or not all(_whole(s, 16) and s % 2 == 0 for s in size):
    raise errors.ConfigError(f"Toybox: size {size} must be two even numbers of at least 16, such as 64,64.")
  if not _whole(frames, 1) or not isinstance(fps, numbers.Real) or not 0 < fps <= 1000:
    raise errors.ConfigError(f"Toybox: frames={frames} must be a whole number and fps={fps} at most 1000,"
                             " and both frames and fps positive.")
  if not _whole(seed, 0) or not _whole(workers, 0):
    raise errors.ConfigError(f"Toybox: seed={seed} and workers={workers} must be whole numbers of at least 0.")


def _counts(split: Any) -> tuple[int, ...]:
  counts = tuple(split) if isinstance(split, (tuple, list)) else (split,)
  if not 1 <= len(counts) <= 3 or not all(_whole(n, 0) for n in counts):
    raise errors.ConfigError(f"Toybox: split={split} must be the numbers of training, validation and test videos,"
                             " such as 960,160,0.")
  return counts


def _check_folder(out: str, made: dict[str, Any]) -> None:
  """Raises DataError where `out` holds anything but videos made in the same way: they would get wrong labels."""
  stamp = os.path.join(out, STAMP)
  if os.path.isdir(out) and os.listdir(out):
    try:
      with reading.open_text(stamp) as f:
        before = json.load(f)
    except (OSError, ValueError):
      raise errors.DataError(f"{out} is not empty and holds no Toybox; choose another --out.") from None
    changed = [k for k in made if not isinstance(before, dict) or before.get(k) != made[k]]
    if changed:
      was = ", ".join(f"{k}={before[k]}" for k in changed if isinstance(before, dict) and k in before)
      raise errors.DataError(f"{out} holds a Toybox of {was or 'another kind'}; remove it or choose another --out.")
