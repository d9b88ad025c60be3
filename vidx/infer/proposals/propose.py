"""Objects of videos from their files to a list of tubes: what `vidx propose` runs."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import json
import os
import sys
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors, writing
from vidx.data import coco_masks, media_files
from vidx.data.records import Media, media_of
from vidx.infer.proposals import candidates as candidates_lib
from vidx.infer.proposals import masks as masks_lib
from vidx.infer.proposals import motion as motion_lib
from vidx.infer.proposals import regions as regions_lib
from vidx.infer.proposals import settings
from vidx.infer.proposals import stages as stages_lib
from vidx.infer.proposals import tubes as tubes_lib
from vidx.terminal import counted

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Found:
  """The objects of a video, the best first. Boxes are in pixels of the video, and masks of the size that they say.

  Attributes:
    path: of the video.
    name: under which it is written.
    frames: int (N,), numbers of the frames that were looked at.
    size: height and width of the video.
    score: fp32 (K,) of the tubes.
    boxes: fp32 (K, N, 4) as x0, y0, x1, y1, refined by the masks where there are some and this is asked for.
    first_boxes: (K, N, 4), before.
    masks: of each of the first tubes its masks as runs, one a frame, {'size': [H, W], 'counts'} as COCO has them;
      fewer than K.
    notes: what is remarkable of the video.
    seconds: of each stage, 0 where it was there.
    fps: frames per second of those looked at.
  """

  path: str
  name: str
  frames: np.ndarray
  size: tuple[int, int]
  score: np.ndarray
  boxes: np.ndarray
  first_boxes: np.ndarray
  masks: list[list[dict[str, list[int]]]]
  notes: list[str]
  seconds: dict[str, float]
  fps: float

  def mask(self, tube: int) -> np.ndarray:
    """bool (N, H, W) of a tube, at the size that they are kept at, which may be smaller than the video."""
    return np.stack([coco_masks.from_counts(m["counts"], *m["size"]) for m in self.masks[tube]])

  def to_json(self) -> dict[str, Any]:
    boxes = lambda x: np.round(x.astype(float), 2).tolist()
    tubes = [{"rank": k + 1, "score": float(self.score[k]), "boxes": boxes(self.boxes[k]),
              **({"masks": self.masks[k]} if k < len(self.masks) else {})} for k in range(len(self.score))]
    return {"path": self.path, "size": list(self.size), "frames": self.frames.tolist(), "notes": self.notes,
            "seconds": {k: round(v, 2) for k, v in self.seconds.items()}, "tubes": tubes}


def name_of(path: str) -> str:
  """The name of a video: that of its folder, or of its file without the ending."""
  name = os.path.basename(os.path.abspath(path))
  return name if os.path.isdir(path) else os.path.splitext(name)[0]


def propose(media: Media, folder: str, config: ConfigDict, say: Say = lambda text: None, name: str = "") -> Found:
  """The objects of a video.

  A video of one frame, one that does not move and the frames beside a cut are ranked by
  the frame alone, which `notes` say. Of frames without any edge the only box is the frame.

  Args:
    media: of the video.
    folder: where its stages are kept; a stage is made anew where what it depends on has changed: settings, or files by
      their sizes and the times of their last change.
    config: see `settings`.
    say: is given a line of progress now and then.
    name: of the video, also in `flow.files`; empty: `name_of` its path.

  Raises:
    DecodeError: the video cannot be decoded, or its frames differ in size.
    DataError: files of flow are missing or broken.
    ConfigError: see `settings.check` and `regions.describer`.
  """
  settings.check(config)
  video = motion_lib.Video(media, config.video, name or name_of(media.path))
  try:
    stages = stages_lib.Stages(folder, lambda text: say(f"{video.name}: {text}"))
    motion = motion_lib.Motion(video, config.flow, stages)
    candidates = candidates_lib.Candidates(video, motion, config, stages)
    regions = regions_lib.Regions(video, candidates, config, stages)
    tubes, key = tubes_lib.find(candidates, regions, config, stages)
    segmenter = functools.cache(lambda: masks_lib.Segmenter(video, motion, config))  # where some mask is not there
    key = stages_lib.key_of(key, config.masks, config.seed, regions_lib.weights(config.features.workdir)
                            if config.masks.pixels == "trunk" else [])
    kept = [_masked(video, segmenter, tubes, n, key, config, stages, say) for n in range(_wanted(tubes, config))]
    scale = np.tile(np.array(video.full[::-1]) / (video.width, video.height), 2)
    boxes = tubes.boxes.copy()
    for n, one in enumerate(kept):
      boxes[n] = one["boxes"]
    masks = [_runs(one, video.height, video.width) for one in kept]
    return Found(video.path, video.name, video.indices, tuple(video.full), tubes.score,
                 (boxes * scale).astype(np.float32), (tubes.boxes * scale).astype(np.float32), masks,
                 _notes(video, motion), dict(stages.seconds), video.fps)
  finally:
    video.close()


def _wanted(tubes, config):
  return max(min(len(tubes.score), config.tubes.masked or len(tubes.score)), 0)


def _masked(video, segmenter, tubes, n, key, config, stages, say):
  """The stage of the masks of a tube: lengths of runs, one frame after the other, and refined boxes."""
  def make():
    masks, boxes = segmenter()(tubes.boxes[n], n)
    runs = [coco_masks.to_counts(m) for m in masks]
    return {"boxes": boxes, "counts": np.concatenate(runs).astype(np.int32), "lengths": np.array(list(map(len, runs)))}

  found = stages.one(f"masks_{n:03d}", stages_lib.key_of(key, n), make)
  took = stages.seconds.pop(f"masks_{n:03d}")
  stages.seconds["masks"] = stages.seconds.get("masks", 0.0) + took
  if took:
    say(f"{video.name}: masks: {n + 1} of {counted(_wanted(tubes, config), 'tube')}, {stages.seconds['masks']:.0f} s")
  return found


def _runs(one, height, width):
  ends = np.cumsum(one["lengths"])
  return [{"size": [height, width], "counts": part.tolist()} for part in np.split(one["counts"], ends[:-1])]


def _notes(video, motion):
  notes = []
  if len(video) == 1:
    notes.append("one frame: nothing moves, ranked by how objects look alone")
  elif not motion.scale:
    notes.append("nothing moves: ranked by how objects look alone")
  if len(motion.cuts):
    shown = ", ".join(str(video.indices[t]) for t in motion.cuts[:5]) + (", ..." if len(motion.cuts) > 5 else "")
    notes.append(f"cut before frame {shown}: no motion is taken across")
  return notes


def main(paths: Sequence[str], out: str, config: ConfigDict, say: Say | None = None) -> list[dict[str, Any]]:
  """Writes OUT/NAME.json for each video, its stages below OUT/stages/NAME.

  Args:
    paths: of videos, folders of frames, folders of these, globs.
    out: folder to write.
    config: see `settings`.
    say: is given lines of progress; None: they go to the standard error.

  Returns:
    Of each video {'path', 'file', 'found', 'error'}: the JSON, `Found`, or why there is none.

  Raises:
    DataError: no video at all, or two of one name.
    ConfigError: see `propose`.
  """
  say = say or (lambda text: print(text, file=sys.stderr, flush=True))
  files = media_files.find(paths)
  names: dict[str, str] = {}
  for path in files:
    if (name := name_of(path)) in names:
      raise errors.DataError(f"{path} and {names[name]} would both become {name}.json; propose them apart.")
    names[name] = path
  return [one(media_of(path), name, out, config, say) for name, path in names.items()]


def one(media: Media, name: str, out: str, config: ConfigDict, say: Say) -> dict[str, Any]:
  """Writes OUT/NAME.json of a video, its stages below OUT/stages/NAME; its entry as `main` gives it."""
  try:
    found = propose(media, os.path.join(out, "stages", name), config, say, name)
  except errors.DecodeError as e:
    return {"path": media.path, "file": None, "found": None, "error": str(e)}
  file = os.path.join(out, f"{name}.json")
  write(found, file)
  return {"path": media.path, "file": file, "found": found, "error": None}


def write(found: Found, path: str) -> None:
  """Writes the JSON of a video."""
  writing.write_text(path, json.dumps(found.to_json()))


def to_table(done: Sequence[dict[str, Any]]) -> str:
  """A line per video, its notes, and what each took."""
  lines = []
  for entry in done:
    found = entry["found"]
    if found is None:
      lines.append(f"{entry['path']}: {entry['error'].removeprefix(entry['path'] + ': ')}")
      continue
    took = sum(found.seconds.values()) / len(found.frames)
    lines.append(f"{entry['path']}: {counted(len(found.score), 'tube')}, {len(found.masks)} with masks, "
                 f"{counted(len(found.frames), 'frame')},"
                 f" {took:.2f} s per frame -> {entry['file']}")
    lines += [f"  {note}" for note in found.notes]
  return "\n".join(lines)
