"""Tubes against the annotation of a data set: of each object the tube that fits it best, and its rank."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors, writing
from vidx.data import datasets
from vidx.data.datasets import object_tracks
from vidx.data.records import Record
from vidx.infer.proposals import propose as propose_lib
from vidx.metrics import tubes as metrics
from vidx.metrics.ranking import mean_known

FIRST = 5  # tubes among which the best is sought, beside the first and all


def main(reader: str, root: str, split: str, out: str, config: ConfigDict, say: propose_lib.Say,
         options: Mapping[str, Any] | None = None) -> tuple[list[dict[str, Any]], dict[str, float]]:
  """Proposes objects of all sequences of a data set, and writes OUT/NAME.json and OUT/figures.json.

  Args:
    reader: 'davis', 'segtrack2' or 'otb2013', or another whose records have objects.
    root: of the data set.
    split: of it.
    out: folder to write.
    config: see `settings`.
    say: is given lines of progress.
    options: of the reader.

  Returns:
    Entries as `propose.main` gives them, with 'figures' of each, and the figures of all: percent, pixels and ranks.

  Raises:
    ConfigError: the records of this reader have no objects.
  """
  dataset = datasets.load(reader, root, split, **(options or {}))
  if "objects" not in dataset.records[0].extra:
    raise errors.ConfigError(f"the reader '{reader}' says no objects in frames: davis, segtrack2 and otb2013 do.")
  done, overlaps = [], {}
  for record in dataset.records:
    entry = propose_lib.one(record.media, record.id.replace(os.sep, "-"), out, config, say)
    if entry["found"] is not None:
      overlaps[record.id] = of_record(record, entry["found"])
      entry["figures"] = _percent(summary({record.id: overlaps[record.id]}, {}))
    done.append(entry)
  figures = _percent(summary(overlaps, {r.id: r.extra["attributes"] for r in dataset.records}))
  writing.write_json(os.path.join(out, "figures.json"), {k: writing.number(v) for k, v in figures.items()})
  return done, figures


def of_record(record: Record, found: propose_lib.Found) -> list[dict[str, np.ndarray]]:
  """Of each object: 'boxes' (K, N), overlap of each tube's boxes in each frame, nan where the object is not annotated;
  and where there are masks, 'masks' (M, N) of the tubes that have some, and 'pixels' (M,), wrong ones a frame: nan of
  an object that is in none of the frames."""
  out = []
  for number in range(len(record.extra["objects"])):
    if "masks" in record.extra:
      truth = object_tracks.masks(record, number, found.frames)
      scale = np.tile(np.array(found.size[::-1]) / truth.shape[2:0:-1], 2)
      one = {"boxes": metrics.frame_iou(found.boxes, object_tracks.boxes_of(truth) * scale)}
      each = [_resized(found.mask(k), truth.shape[1:]) for k in range(len(found.masks))]
      if each:
        known = 1.0 if truth.any() else np.nan
        one["masks"] = known * np.stack([metrics.mask_overlaps(m, truth) for m in each])
        one["pixels"] = known * np.array([metrics.pixel_error(m, truth) for m in each])
    else:
      one = {"boxes": metrics.frame_iou(found.boxes, record.extra["boxes"][number][found.frames])}
    out.append(one)
  return out


def _resized(masks, size):
  import cv2
  if masks.shape[1:] == size:
    return masks
  return np.stack([cv2.resize(m.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0 for m in masks])


def summary(overlaps: Mapping[str, Sequence[Mapping[str, np.ndarray]]], attributes: Mapping[str, Sequence[str]]
            ) -> dict[str, float]:
  """The measures of the thesis over all objects, in parts of 1, pixels and ranks.

  Args:
    overlaps: by sequence, of each object what `of_record` gives.
    attributes: of each sequence.

  Returns:
    'auc' of the success plots of the boxes of the best tubes, 'auc/NAME' by attribute, 'box_rank'; where there are
    masks 'per_object' and 'per_sequence', the overlap of the best tube, 'rank', 'pixels'; of both the overlap of the
    'first' tube and of the best of the 'first_5', and before 'box_'. Objects without annotation are left out.
  """
  out: dict[str, float] = {}
  each = {name: [_of_object(o) for o in objects] for name, objects in overlaps.items()}
  every = [o for objects in each.values() for o in objects]
  mean = lambda key: mean_known([o[key] for o in every if key in o])
  auc = {name: mean_known([o["auc"] for o in objects]) for name, objects in each.items()}
  for name, value in metrics.by_attribute(auc, attributes).items():
    out["auc" if name == "all" else f"auc/{name}"] = value
  out.update(box_rank=mean("box_rank"), box_first=mean("box_first"), **{f"box_first_{FIRST}": mean("box_some")})
  if any("best" in o for o in every):
    out.update(metrics.per_object_and_sequence({n: [o["best"] for o in v if "best" in o] for n, v in each.items()}))
    out.update(rank=mean("rank"), pixels=mean("pixels"), first=mean("first"), **{f"first_{FIRST}": mean("some")})
  return out


def _of_object(found):
  rank, _, first, some = _ranked(found["boxes"])
  out = {"box_rank": rank, "box_first": first, "box_some": some,
         "auc": float("nan") if np.isnan(rank) else metrics.success_auc(found["boxes"][rank - 1])}
  if "masks" in found:
    rank, best, first, some = _ranked(found["masks"])
    pixels = float("nan") if np.isnan(rank) else float(found["pixels"][rank - 1])
    out.update(rank=rank, best=best, first=first, some=some, pixels=pixels)
  return out


def _ranked(overlaps):
  """Of overlaps (K, N): rank and overlap of the tube that fits best, overlap of the first and of the best of FIRST."""
  mean = [mean_known(v) for v in overlaps]
  return (*metrics.best_of(mean), metrics.best_of(mean, 1)[1], metrics.best_of(mean, FIRST)[1])


def _percent(figures):
  return {k: v if "rank" in k or k == "pixels" else 100 * v for k, v in figures.items()}


def lines(figures: Mapping[str, float]) -> list[str]:
  """A line per figure."""
  return [f"{name}: {value:.1f}" for name, value in figures.items()]
