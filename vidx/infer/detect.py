"""Boxes of a whole video: windows over its frames, looked at twice, beside a detector of frames, and linked in time.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural
Language", 2020, sections 3.2 and 3.3. A video is read once and in order, each frame is encoded
once, and features of a bounded number of frames are held (vidx/infer/frame_windows.py): of
windows of 11 frames, 10 apart, those of 111, each 22 x 38 x 1024 numbers where frames have 337 x
600 pixels, 0.35 GiB in all. Of a frame that no window comes to any more a bounded number of boxes
is left.

A video may be looked at in several sizes. Every scale goes its own way, through windows and both
passes and the detector of frames, as if it were the only one; then the boxes of all scales of a
frame are put together in pixels of the video, and linking and suppression take them as one set.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import functools
import itertools
import os
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import geometry, transforms
from vidx.infer import frame_windows, linking, load
from vidx.infer.found_boxes import Found
from vidx.nn import augment
from vidx.nn.detector_heads import STRIDE
from vidx.train import config as config_lib

LINKS = ("seqnms", "dt_link", "none")
AGAIN = 0.05  # score of a box that is looked at a second time
LEAST = 1e-5  # score of a box that is kept
_ROWS = 400  # boxes of a frame that leave the device, and that are kept of it at last
_BLOCK = 16  # frames that are decoded at once
_SCORED = 0.01  # score of a class from which a box takes part in linking
_PER_FRAME = 25  # boxes of a class in a frame that take part
_SAME = 0.7  # overlap from which two of them are one
_RANGE = 4  # times the size that a network was trained at


@dataclasses.dataclass(frozen=True)
class How:
  """How a video is looked at.

  Attributes:
    mode: see `frame_windows.MODES`.
    size: frames of a window.
    step: frames from one of a window to the next; 0: the stride of training.
    passes: 2: boxes that pass 1 moved and that may be something are scored again.
    link: 'seqnms', 'dt_link' or 'none', see vidx/infer/linking.py.
    suppress: overlap above which the worse box of a class is left out at last.
    still: workdir of a detector of frames whose boxes are added; '': none.
    scales: shorter sides of frames, in pixels, at each of which a video is looked at; (): at `data.short_side` alone.
      `data.long_side` and `data.sizes` grow and shrink in proportion.
  """

  mode: str = "center_overlap"
  size: int = 11
  step: int = 0
  passes: int = 2
  link: str = "seqnms"
  suppress: float = 0.3
  still: str = ""
  scales: tuple[int, ...] = ()

  def __post_init__(self):
    scales = tuple(self.scales) if isinstance(self.scales, (tuple, list)) else (self.scales,)
    if not all(isinstance(side, int) and side > 0 for side in scales) or len(set(scales)) < len(scales):
      raise errors.ConfigError(f"windows: scales={','.join(map(str, scales))}: write the shorter sides in pixels, whole"
                               " numbers above 0, each once, such as 270,360,540.")
    object.__setattr__(self, "scales", scales)
    errors.check_choice("windows: mode", self.mode, frame_windows.MODES)
    errors.check_choice("windows: link", self.link, LINKS)
    if self.passes not in (1, 2) or self.size < 1 or self.step < 0:
      raise errors.ConfigError(f"windows: passes={self.passes} is 1 or 2, size={self.size} 1 or more, step={self.step}"
                               " 0 or more.")
    if not 0 <= self.suppress <= 1:
      raise errors.ConfigError(f"windows: suppress={self.suppress:g} is an overlap: write a number from 0 to 1.")

  @property
  def name(self) -> str:
    """'center_overlap-11', scales behind it, and whatever else is not as usual, for the name of a file."""
    usual = {f.name: f.default for f in dataclasses.fields(How)}
    other = [f"{k}={getattr(self, k)}" for k in ("step", "passes", "link", "suppress") if getattr(self, k) != usual[k]]
    still = [f"still={os.path.basename(os.path.abspath(self.still))}"] if self.still else []
    return "-".join(map(str, (self.mode, self.size, *self.scales, *other, *still)))


def how(text: str) -> How:
  """'center_overlap,size=11,scales=270,360,540' as How; the first word may be the mode alone.

  Raises:
    ConfigError: an option that there is not, or a value that it cannot have.
  """
  words = re.split(r",(?=[^,]*=)", text)  # a comma that no option follows is one of a value
  if "=" not in words[0]:
    words[0] = f"mode={words[0] or How.mode}"
  given = {name: config_lib.parse(value) for name, _, value in (word.partition("=") for word in words)}
  errors.check_options(How, given, "--windows")
  return How(**given)


class _Net:
  """The compiled programs of a run."""

  def __init__(self, loaded: load.Loaded):
    self.loaded, self.data = loaded, loaded.config.data
    self.variables = jax.device_put(loaded.variables)
    if not self.data.sizes:
      raise errors.ConfigError("boxes of whole videos are those of whole frames: the run needs data.sizes.")

  def sections(self, scales: Sequence[int]) -> list[ConfigDict]:
    """The section `data` for each scale; of none its own.

    Raises:
      ConfigError: a scale that is far from the size of training.
    """
    own = self.data.short_side
    least, most = -(-own // _RANGE), own * _RANGE
    for side in scales:
      if not least <= side <= most:
        raise errors.ConfigError(f"windows: scales={','.join(map(str, scales))}: {side} is not in {least} to {most},"
                                 f" a quarter to four times data.short_side={own} of {self.loaded.config.system.name}.")
    return [_at_scale(self.data, side) for side in scales or (own,)]

  @property
  def remembers(self) -> bool:
    return self.loaded.model.remembers

  @functools.cached_property
  def encode(self) -> Callable[..., Any]:
    """(variables, uint8 (1, 1, H, W, 3), extent (1, 2)) -> features, proposals and their mask (None where given)."""
    model, data = self.loaded.model, self.data

    def run(variables, video, extent):
      video = augment.normalize(video, data.mean, data.std, self.loaded.dtype)
      x, seen = model.apply(variables, video, method="encode")
      if model.rpn is None:
        return x[:, 0], None, None
      (rois, mask), _ = model.apply(variables, seen, extent, method="propose")
      return x[:, 0], rois[:, 0], mask[:, 0]

    return jax.jit(run)

  @functools.cached_property
  def look(self) -> Callable[..., Any]:
    """(variables, x (1, T, h, w, D), rois, mask, live (1, T, h, w), extent, state, passes) -> boxes, scores, memory."""
    model, task = self.loaded.model, self.loaded.task

    def run(variables, x, rois, mask, live, extent, state, passes):
      memory, state = model.apply(variables, x, live, state, method="remember")
      boxes, scores = [], []
      for again in range(passes):
        out = model.apply(variables, memory, rois, method="detect")
        moved, own = task.decoded({**out, "rois": rois, "roi_mask": mask}, extent)
        boxes, scores = boxes + [moved], scores + [own]
        rois, mask = moved, mask * (own.max(-1) >= AGAIN)
      boxes, scores = jnp.concatenate(boxes, 2), jnp.concatenate(scores, 2)
      best, rows = jax.lax.top_k(scores.max(-1), min(_ROWS, scores.shape[2]))
      pick = lambda y: jnp.take_along_axis(y, rows[..., None], 2)[0]
      return pick(boxes), pick(scores), jnp.abs(memory[0].astype(jnp.float32)).mean(-1), state

    return jax.jit(run, static_argnums=7)


class VideoDetector:
  """Finds the boxes of videos with a trained run.

  Attributes:
    held: most frames whose features were held at once so far.
  """

  def __init__(self, loaded: load.Loaded, settings: How = How(), still: load.Loaded | None = None):
    self.settings, self._net = settings, _Net(loaded)
    self._still = _Net(still) if still is not None else None
    self.classes, self.held = loaded.classes, 0
    if still is not None and still.classes != loaded.classes:
      raise errors.ConfigError("windows: still is a run of other classes than this one.")
    for net in filter(None, (self._net, self._still)):
      net.sections(settings.scales)  # those that cannot be are told before a video is read

  def frames(self, video: Any, proposed: Callable[[int], np.ndarray] | None = None, saliency: dict | None = None
             ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(frame, boxes (P, 4) in pixels of the video, scores (P, C)) of each frame in order, as soon as it is known.

    Args:
      video: an open reader.
      proposed: frame -> boxes (R, 4) in parts of it, the best first, where the run takes them from files.
      saliency: takes (h, w) of each frame: the mean size of the memory, at the first scale.
    """
    net, s = self._net, self.settings
    size, step = (s.size, s.step or net.data.stride) if net.remembers else (1, 1)
    cut = frame_windows.FrameWindows(size, step, s.mode if net.remembers else "no_overlap")
    sections = net.sections(s.scales)
    most = 2 * _ROWS * len(sections)
    held: dict[int, list[_Frame]] = {}
    pooled: dict[int, list] = {}
    states: dict[tuple[int, int], Any] = {}
    done = 0

    def seen(window, scale):
      state = states.get((window.sequence, scale)) if window.carries else None
      found = self._looked(net, [held[i][scale] for i in window.frames], max(size, len(window.frames)), state)
      if s.mode == "long":
        states[window.sequence, scale] = found[3]
      boxes, scores, memory = (np.asarray(x, np.float32) for x in found[:3])
      for at in window.gives:
        frame = window.frames[at]
        pooled[frame].append(_kept(boxes[at], scores[at], held[frame][scale].place))
        if saliency is not None and not scale:
          saliency[frame] = memory[at]

    for number, picture in enumerate(_pictures(video)):
      own = proposed and proposed(number)
      held[number] = [_encoded(net, data, picture, own) for data in sections]
      self.held = max(self.held, len(held))
      pooled[number] = list(self._of_still(picture, own)) if self._still else []
      for window, scale in itertools.product(cut.push(), range(len(sections))):
        seen(window, scale)
      for old in [i for i in held if i < cut.oldest]:
        del held[old]
      while done < cut.oldest and done in pooled:
        yield done, *_pooled(pooled.pop(done), len(self.classes), most)
        done += 1
    for window, scale in itertools.product(cut.close(), range(len(sections))):
      seen(window, scale)
    for frame in sorted(pooled):
      yield frame, *_pooled(pooled[frame], len(self.classes), most)

  def _looked(self, net: "_Net", frames: Sequence["_Frame"], size: int, state: Any) -> Any:
    """`_Net.look` at frames, padded to `size`."""
    pad = size - len(frames)
    stacked = lambda name: jnp.stack([getattr(f, name) for f in frames] + [jnp.zeros_like(getattr(frames[0], name))]
                                     * pad)[None]
    x, live = stacked("features"), stacked("live")
    extent = jnp.asarray([frames[0].extent], jnp.float32)
    return net.look(net.variables, x, stacked("rois"), stacked("mask"), live, extent, state, self.settings.passes)

  def _of_still(self, picture, proposed):
    for data in self._still.sections(self.settings.scales):
      frame = _encoded(self._still, data, picture, proposed)
      boxes, scores, *_ = self._looked(self._still, [frame], 1, None)
      yield _kept(np.asarray(boxes[0]), np.asarray(scores[0]), frame.place)

  def __call__(self, video: Any, proposed: Callable[[int], np.ndarray] | None = None, saliency: dict | None = None
               ) -> Found:
    """The linked boxes of a video; see `frames` for the arguments."""
    found = [(boxes, scores) for _, boxes, scores in self.frames(video, proposed, saliency)]
    return linked([b for b, _ in found], [s for _, s in found], self.settings.link, self.settings.suppress)


class _Frame(NamedTuple):
  """What is held of a frame: features (h, w, D), proposals (R, 4) and mask (R,), live (h, w), extent, place."""

  features: jax.Array
  rois: jax.Array
  mask: jax.Array
  live: jax.Array
  extent: tuple[float, float]
  place: tuple[geometry.Geometry, tuple[int, int]]


def _pictures(video: Any) -> Iterator[np.ndarray]:
  for first in range(0, video.num_frames, _BLOCK):
    yield from video.frames(np.arange(first, min(first + _BLOCK, video.num_frames)))


def _at_scale(data: ConfigDict, side: int) -> ConfigDict:
  """The section for another shorter side; the longest side and the rooms, in steps of the stride, go with it."""
  if side == data.short_side:
    return data
  grown = lambda n, unit: -(-n * side // (data.short_side * unit)) * unit
  rooms = tuple((grown(height, STRIDE), grown(width, STRIDE)) for height, width in data.sizes)
  other = data.copy_and_resolve_references()
  other.update(short_side=side, long_side=grown(data.long_side, 1), sizes=rooms)
  return other


def _encoded(net: _Net, data: ConfigDict, picture: np.ndarray, proposed: np.ndarray | None) -> _Frame:
  room = tuple(data.sizes[transforms.bucket(*picture.shape[:2], data)])
  fitted, place = transforms.fit(picture[None], data, room)
  corner = geometry.to_pixels(np.array([0.0, 0.0, 1.0, 1.0]), place)[2:]
  extent = float(corner[1]), float(corner[0])
  x, rois, mask = net.encode(net.variables, fitted[None], jnp.asarray([extent]))
  if rois is None:
    if proposed is None:
      raise errors.ConfigError("the run takes proposed boxes from files, which new videos have not: train it with"
                               " system.proposals='rpn'.")
    count = data.boxes.rois
    own = geometry.to_pixels(proposed[:count], place)
    rois = np.zeros((1, count, 4), np.float32)
    rois[0, :len(own)], mask = own, (np.arange(count) < len(own)).astype(np.float32)[None]
  live = net.loaded.model.place_mask((1, 1, *room), None, jnp.asarray([extent]))[0, 0]
  return _Frame(x[0], jnp.asarray(rois)[0], jnp.asarray(mask)[0], live, extent, (place, picture.shape[:2]))


def _kept(boxes, scores, place):
  """Boxes of a frame in pixels of the video, as far as they have a score."""
  own, (height, width) = place
  kept = scores.max(-1) > LEAST
  return geometry.to_frame(boxes[kept], own) * np.array([width, height] * 2, np.float32), scores[kept]


def _pooled(parts, classes, most):
  """The boxes of a frame from all that looked at it, the best ones up to `most`."""
  boxes = np.concatenate([b for b, _ in parts] or [np.zeros((0, 4))])
  scores = np.concatenate([s for _, s in parts] or [np.zeros((0, classes))])
  best = np.argsort(-scores.max(-1, initial=0), kind="stable")[:most]
  return boxes[best], scores[best]


def linked(boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray], link: str = "seqnms", suppress: float = 0.3
           ) -> Found:
  """Boxes of a video, linked in time class by class, and at last suppressed in every frame.

  Of a class up to 25 boxes of a frame, none of which is another one's (overlap 0.7), take part
  in Seq-NMS; `linking.candidates` says which ones in 'dt_link'.

  Args:
    boxes: (P, 4) in pixels, per frame.
    scores: (P, C) per frame.
    link: one of LINKS.
    suppress: overlap.
  """
  errors.check_choice("link", link, LINKS)
  classes = scores[0].shape[1] if scores else 0
  rows, tracks = [], 0
  of_classes = linking.candidates(boxes, scores) if link == "dt_link" else None
  for c in range(classes):
    if of_classes is not None:
      support = [(b, s[:, c]) for b, s in zip(boxes, scores)]
      found = linking.dt_link(*of_classes[c], support)
    else:
      own = [_few(b, s[:, c]) for b, s in zip(boxes, scores)]
      found = linking.Linked([b for b, _ in own], [s for _, s in own], [np.full(len(s), -1) for _, s in own], [])
      if link == "seqnms":
        found = linking.seq_nms(found.boxes, found.scores)
    numbers = np.concatenate([*found.tracks, np.zeros(0, int)])
    for frame, (b, s, t) in enumerate(zip(found.boxes, found.scores, found.tracks)):
      kept = linking.suppress(b, s, suppress) if len(b) else np.zeros(0, int)
      rows += [(frame, *b[i], c, s[i], t[i] + tracks if t[i] >= 0 else -1) for i in kept
               if s[i] > LEAST]
    tracks += int(numbers.max(initial=-1)) + 1
  table = np.array(rows, np.float64).reshape(-1, 8)
  table = table[np.lexsort((-table[:, 6], table[:, 0]))]
  return Found(table[:, 0].astype(int), table[:, 1:5], table[:, 5].astype(int), table[:, 6], table[:, 7].astype(int))


def _few(boxes, scores):
  rows = np.flatnonzero(scores > _SCORED)
  rows = rows[linking.suppress(boxes[rows], scores[rows], _SAME)][:_PER_FRAME] if len(rows) else rows
  return boxes[rows], scores[rows]


def make(loaded: load.Loaded, settings: How) -> VideoDetector:
  """A detector of a run, with the detector of frames that the settings name.

  Raises:
    ConfigError: what they name finds no boxes, or those of other classes.
  """
  if not settings.still:
    return VideoDetector(loaded, settings)
  still = load.load_checkpoint(settings.still)
  if still.config.task.name != loaded.config.task.name:
    raise errors.ConfigError(f"windows: still={settings.still} is a run of task '{still.config.task.name}', which finds"
                             " no boxes in frames; name the workdir of a detector.")
  return VideoDetector(loaded, settings, still)
