"""What there is in every frame of new videos, and the measure of a split whose boxes are known."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vidx import errors, tasks, writing
from vidx.data import clips, detections, records
from vidx.data.frame_boxes import PROPOSED, TRUTH
from vidx.infer import detect, found_boxes, load, results
from vidx.metrics import boxes as metrics_lib
from vidx.train import build

OPTIONS = ("windows", "threshold", "memory")  # of `predict`, beside runs and files


def applies(loaded: load.Loaded) -> bool:
  """Whether a run finds boxes."""
  return loaded.config.task.name == "detection"


def predict(loaded: load.Loaded, files: Sequence[str], *, windows: str = "", threshold: float = 0.05,
            memory: bool = False) -> list[dict[str, Any]]:
  """Finds the boxes of videos.

  Args:
    loaded: the run.
    files: videos and folders of frames.
    windows: see `detect.how`.
    threshold: score of a box that is told.
    memory: whether entries have 'memory' (T, h, w), how much is remembered where.

  Returns:
    One entry per file: {'path', 'error': None or the reason why it cannot be read, 'size': [height, width], 'fps',
    'count': frames, 'frames': see `found_boxes.entry_of`}.

  Raises:
    ConfigError: windows that cannot be, or `memory` of a run that looks at each frame alone.
  """
  if memory and not loaded.model.remembers:
    raise errors.ConfigError(f"memory: system '{loaded.config.system.name}' looks at each frame alone and remembers"
                             " nothing; leave memory out.")
  detector = detect.make(loaded, detect.how(windows))
  found = []
  for file in files:
    saliency: dict[int, np.ndarray] | None = {} if memory else None
    try:
      with clips.open_media(records.media_of(file)) as video:
        boxes = detector(video, saliency=saliency)
        entry = {"path": file, "error": None, "size": [int(video.height), int(video.width)], "fps": float(video.fps),
                 "count": int(video.num_frames), "frames": found_boxes.entry_of(boxes, loaded.classes, threshold)}
        if saliency:
          entry["memory"] = np.stack([saliency[i] for i in sorted(saliency)])
        found.append(entry)
    except errors.DecodeError as e:
      found.append({"path": file, "error": str(e), "frames": []})
  return found


def evaluate(workdir: str, split: str = "", *, windows: str = "", step: int | str | None = None,
             overrides: Sequence[str] = ()) -> dict[str, Any]:
  """Finds the boxes of all frames of a split, prints their measure and writes WORKDIR/eval/<split>-<windows>.json.

  Args:
    workdir: of a run.
    split: of its data set; empty for the split that training evaluated on.
    windows: see `detect.how`.
    step: which checkpoint, as in `load_checkpoint`.
    overrides: `section.key=value` texts over the run's config.

  Returns:
    What the file holds (see vidx/infer/results.py); metrics are those of `vidx.metrics.boxes.evaluate_vid`.
  """
  loaded = load.load_checkpoint(workdir, step, overrides)
  if not applies(loaded):
    raise errors.ConfigError(f"--windows: task '{loaded.config.task.name}' finds no boxes; leave it out.")
  settings = detect.how(windows)
  detector = detect.make(loaded, settings)
  config = loaded.config
  dataset = records.aligned(build.load_split(config, split or config.data.val_split), loaded.targets)
  task = tasks.from_config(config.task.to_dict(), dataset)
  found, truth, motion, failures, first = [], [], [], {}, 0
  for record in dataset.records:
    known = record.extra.get(TRUTH)
    if known is None:
      raise errors.DataError(f"'{record.id}' of split '{dataset.split}' has no boxes to compare with.")
    try:
      with clips.open_media(record.media) as video:
        own, side = detector(video, _proposed(record)), np.array([video.width, video.height] * 2)
        count = video.num_frames
    except errors.DecodeError as e:
      failures[record.id] = str(e)
      continue
    found.append(metrics_lib.Boxes(own.frame + first, own.box, own.label, own.score))
    truth.append(metrics_lib.Boxes(known.frame + first, known.box * side, known.label))
    motion.append(metrics_lib.motion_iou(truth[-1], known.track))
    first += count + 2 * metrics_lib.NEARBY
  if not found:
    raise errors.DataError(f"no video of split '{dataset.split}' can be decoded: {next(iter(failures.values()))}")
  joined = lambda parts: metrics_lib.Boxes(*(np.concatenate([getattr(p, name) for p in parts]) for name in (
      "frame", "box", "label")), *([np.concatenate([p.score for p in parts])] if parts[0].score is not None else []))
  all_found, all_truth = joined(found), joined(truth)
  each = metrics_lib.evaluate_vid(all_found, all_truth, dataset.classes, np.concatenate(motion),
                                  small_boxes=task.rule == "vid")
  counts = np.bincount(all_truth.label, minlength=len(dataset.classes))
  metrics = {k: writing.number(v) for k, v in each.items() if not k.startswith("AP/")}
  how = results.protocol(config, dataset, clips=1, crops=1, dtype=loaded.dtype)
  del how["clips"], how["crops"]  # all frames are seen
  how |= {"views": settings.name, "windows": settings.mode,
          "frames of a window": settings.size, "frames between": settings.step or config.data.stride,
          "passes": settings.passes, "linking": settings.link,
          "still": settings.still, "scales": list(settings.scales or (config.data.short_side,))}
  described = {
      "protocol": how, "step": loaded.step, "videos": len(dataset), "evaluated": len(found), "labelled": len(found),
      "failures": [{"id": k, "reason": v} for k, v in sorted(failures.items())], "metrics": metrics,
      "headline": task.best_metric, "samples_limit": 0, "samples": [],
      "per_class": [{"name": name, "n": int(n), "ap": writing.number(each[f"AP/{name}"])}
                    for name, n in zip(dataset.classes, counts)]}
  if jax.process_index() == 0:
    path = results.write(described, workdir)
    print("\n".join([*results.lines(described), f"written to {path}"]), flush=True)
  return described


def _proposed(record: records.Record) -> Any:
  """frame -> proposed boxes (R, 4) in parts of it, the best first; None where the record has none."""
  if PROPOSED in record.extra:
    found = record.extra[PROPOSED]

    def of_record(frame):
      rows = found.rows(frame)
      return found.box[rows][np.argsort(-found.score[rows], kind="stable")]

    return of_record
  if "proposals" in record.companions:
    return lambda frame: detections.open_store(record.companions["proposals"].path).of_frame(frame)[0]
  return None
