"""Average precision of detected boxes, with the rules of VOC, AVA and ImageNet VID: NumPy in, percent out.

Everingham et al.: "The PASCAL Visual Object Classes (VOC) Challenge", 2010, is the area
under precision's envelope. Russakovsky et al.: "ImageNet Large Scale Visual Recognition
Challenge", 2015, asks small boxes for less overlap. Zhu et al.: "Flow-Guided Feature
Aggregation for Video Object Detection", 2017, splits objects by their motion.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from vidx.metrics.ranking import mean_known

RULES = ("free", "best")
MOTION_RULES = ("share", "fgfa")
MOTIONS = {"slow": (0.9, 1.0), "medium": (0.7, 0.9), "fast": (0.0, 0.7)}  # overlap with itself nearby
ROOM = 10  # pixels by which a detection of a small box may be wider and higher
NEARBY = 10  # frames on either side, for motion


@dataclasses.dataclass(frozen=True)
class Boxes:
  """Boxes of any frames and classes, one a row.

  Attributes:
    frame: (N,) numbers of frames; those of different videos differ.
    box: (N, 4) as x0, y0, x1, y1.
    label: (N,) class ids.
    score: (N,) of detections; None for the truth. One that is not a number counts as the lowest.
  """

  frame: np.ndarray
  box: np.ndarray
  label: np.ndarray
  score: np.ndarray | None = None

  def __post_init__(self):
    object.__setattr__(self, "frame", np.asarray(self.frame, np.int64).reshape(-1))
    object.__setattr__(self, "box", np.asarray(self.box, np.float64).reshape(-1, 4))
    object.__setattr__(self, "label", np.asarray(self.label, np.int64).reshape(-1))
    if self.score is not None:
      score = np.asarray(self.score, np.float64).reshape(-1)
      object.__setattr__(self, "score", np.where(np.isnan(score), -np.inf, score))
    sizes = {len(x) for x in (self.frame, self.box, self.label, self.score) if x is not None}
    if len(sizes) > 1:
      raise ValueError(f"frame, box, label and score have different lengths: {sorted(sizes)}")

  def __len__(self) -> int:
    return len(self.frame)


def iou(a: np.ndarray, b: np.ndarray, edge: float = 0.0) -> np.ndarray:
  """Intersection over union, float64 (N, M), of boxes (N, 4) and (M, 4).

  Args:
    a: x0, y0, x1, y1.
    b: as `a`.
    edge: added to sides: 1 where x1 and y1 are the last pixels inside, as in VOC's and ImageNet's files.
  """
  return each_iou(np.reshape(a, (-1, 1, 4)), np.reshape(b, (1, -1, 4)), edge)


def each_iou(a: np.ndarray, b: np.ndarray, edge: float = 0.0) -> np.ndarray:
  """`iou` of boxes (..., 4) one by one, or as they broadcast: float64 (...)."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + edge
  shared = np.maximum(sides, 0).prod(-1)
  union = _area(a, edge) + _area(b, edge) - shared
  return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _area(boxes, edge):
  return np.maximum(boxes[..., 2:] - boxes[..., :2] + edge, 0).prod(-1)


def small_box_threshold(boxes: np.ndarray, threshold: float = 0.5, edge: float = 1.0) -> np.ndarray:
  """The overlap (N,) that a detection of each box needs: min(threshold, w h / ((w + 10) (h + 10)))."""
  sides = np.asarray(boxes, np.float64)[..., 2:] - np.asarray(boxes, np.float64)[..., :2] + edge
  return np.minimum(threshold, (sides / (sides + ROOM)).prod(-1))


def motion_iou(truth: Boxes, track: np.ndarray, reach: int = NEARBY, edge: float = 1.0) -> np.ndarray:
  """Mean overlap (N,) of each true box with the boxes of its track within `reach` frames; 1 where there are none.

  Args:
    truth: N boxes; numbers of frames of a video are consecutive.
    track: (N,) ids, which differ between videos.
    reach: frames before and after.
    edge: see `iou`.
  """
  track, out = np.asarray(track), np.ones(len(truth))
  for rows in _groups(track).values():
    frames = truth.frame[rows]
    far = np.abs(frames[:, None] - frames)
    near = (far > 0) & (far <= reach)
    overlap = iou(truth.box[rows], truth.box[rows], edge)
    count = near.sum(1)
    out[rows] = np.where(count > 0, (overlap * near).sum(1) / np.maximum(count, 1), 1)
  return out


def match(found: Boxes, truth: Boxes, *, threshold: float = 0.5, small_boxes: bool = False, edge: float = 0.0,
          rule: str = "free") -> np.ndarray:
  """The true box that each detection is a hit of, int64 (N,), -1 for none.

  Detections of a frame and class choose by descending score, of equal ones the first.

  Args:
    found: N detections.
    truth: M boxes.
    threshold: overlap from which a detection may be a hit.
    small_boxes: whether that is `small_box_threshold`.
    edge: see `iou`.
    rule: 'free', the box of highest overlap that is not taken, as ImageNet and COCO; 'best', the box of highest
      overlap, and no hit where that is taken, as VOC and AVA.
  """
  if rule not in RULES:
    raise ValueError(f"rule '{rule}' is not one of {', '.join(RULES)}")
  needed = small_box_threshold(truth.box, threshold, edge) if small_boxes else np.full(len(truth), threshold)
  out = np.full(len(found), -1)
  truths = _groups(np.stack([truth.frame, truth.label], 1))
  for key, rows in _groups(np.stack([found.frame, found.label], 1)).items():
    there = truths.get(key)
    if there is None:
      continue
    rows = rows[np.argsort(-found.score[rows], kind="stable")]
    taken = np.zeros(len(there), bool)
    for row, overlap in zip(rows, iou(found.box[rows], truth.box[there], edge)):
      enough = overlap >= needed[there]
      if rule == "free":
        overlap = np.where(enough & ~taken, overlap, -1)
      best = int(np.argmax(overlap))
      if overlap[best] >= 0 and enough[best] and not taken[best]:
        taken[best] = True
        out[row] = there[best]
  return out


def _groups(keys: np.ndarray) -> dict:
  """Rows by key: {key or tuple of keys: ascending row numbers}."""
  if not len(keys):
    return {}
  values, which = np.unique(keys, axis=0, return_inverse=True)
  order = np.argsort(which.reshape(-1), kind="stable")
  parts = np.split(order, np.cumsum(np.bincount(which.reshape(-1)))[:-1])
  return {tuple(v) if np.ndim(v) else v: rows for v, rows in zip(values.tolist(), parts)}


def area_under_envelope(hit: np.ndarray, miss: np.ndarray, positives: float, points: int = 0) -> float:
  """Area under the highest precision at each recall or above, in percent; nan where nothing is positive.

  Args:
    hit: (N,) true positives, best detections first.
    miss: (N,) false positives, which may be parts of one.
    positives: boxes to find.
    points: 0, the exact area; 101, its mean over so many even recalls, as COCO.
  """
  if positives <= 0:
    return float("nan")
  hits, misses = np.cumsum(hit), np.cumsum(miss)
  recall = hits / positives
  precision = np.divide(hits, hits + misses, out=np.zeros(len(hits)), where=hits + misses > 0)
  envelope = np.maximum.accumulate(precision[::-1])[::-1]
  if points:
    places = np.searchsorted(recall, np.linspace(0, 1, points), side="left")
    return 100 * float(np.append(envelope, 0)[places].mean())
  return 100 * float((np.diff(recall, prepend=0) * envelope).sum())


def average_precision(found: Boxes, truth: Boxes, *, threshold: float = 0.5, small_boxes: bool = False,
                      edge: float = 0.0, rule: str = "free", points: int = 0) -> float:
  """Average precision of all boxes as of one class, whatever their labels are; percent, nan without a true box.

  Args: see `average_precisions`.
  """
  one = lambda x: dataclasses.replace(x, label=np.zeros(len(x)))
  return float(average_precisions(one(found), one(truth), 1, threshold=threshold, small_boxes=small_boxes, edge=edge,
                                  rule=rule, points=points)[0])


def average_precisions(found: Boxes, truth: Boxes, classes: int, *, threshold: float = 0.5, small_boxes: bool = False,
                       edge: float = 0.0, rule: str = "free", points: int = 0) -> np.ndarray:
  """Average precision of every class, float64 (classes,): percent, nan for a class without a true box.

  Args:
    found: detections.
    truth: boxes to find.
    classes: labels are 0..classes - 1.
    threshold: see `match`, as small_boxes, edge and rule.
    small_boxes: whether small boxes need less overlap.
    edge: added to sides.
    rule: which true box a detection may take.
    points: see `area_under_envelope`.
  """
  hit = match(found, truth, threshold=threshold, small_boxes=small_boxes, edge=edge, rule=rule) >= 0
  return _by_class(found, hit, 1.0 - hit, truth.label, classes, points)


def _by_class(found, hit, miss, labels, classes, points=0):
  order = np.argsort(-found.score, kind="stable")
  count = np.bincount(labels, minlength=classes) if len(labels) else np.zeros(classes)
  out = np.full(classes, np.nan)
  for c in range(classes):
    rows = order[found.label[order] == c]
    out[c] = area_under_envelope(hit[rows], miss[rows], count[c], points)
  return out


def precisions_by_motion(found: Boxes, truth: Boxes, classes: int, motion: np.ndarray, within: tuple[float, float], *,
                         motion_rule: str = "share", small_boxes: bool = True, edge: float = 1.0) -> np.ndarray:
  """`average_precisions` over the objects that move so much, and not over others.

  Objects outside of the range are not to be found, and detections of them count neither
  way. A detection of nothing is false by where the box of highest overlap lies, of any
  class: in the range 1, outside 0. Between two of equal overlap, and in a frame without
  objects, it is a part of one: the share of objects in the range, of the frame and of all.

  Args:
    found: detections.
    truth: M boxes.
    classes: labels are 0..classes - 1.
    motion: (M,), see `motion_iou`.
    within: least and largest motion of the range, both inside.
    motion_rule: 'share', or 'fgfa', where equal overlap counts by the share that is *not* in the range, as the
      public evaluation of Zhu et al. 2017 does.
    small_boxes: whether small boxes need less overlap.
    edge: see `iou`.
  """
  if motion_rule not in MOTION_RULES:
    raise ValueError(f"motion_rule '{motion_rule}' is not one of {', '.join(MOTION_RULES)}")
  inside = (motion >= within[0]) & (motion <= within[1])
  matched = match(found, truth, small_boxes=small_boxes, edge=edge)
  hit = (matched >= 0) & np.append(inside, False)[matched]
  miss = np.zeros(len(found))
  everywhere = inside.mean() if len(inside) else 0.0
  truths = _groups(truth.frame)
  lost = np.flatnonzero(matched < 0)
  for frame, places in _groups(found.frame[lost]).items():
    rows, there = lost[places], truths.get(frame)
    if there is None:
      miss[rows] = everywhere
      continue
    overlap, here = iou(found.box[rows], truth.box[there], edge), inside[there]
    of = lambda which: np.where(which, overlap, -1).max(1)
    share = here.mean() if motion_rule == "share" else 1 - here.mean()
    miss[rows] = np.select([of(here) > of(~here), of(here) < of(~here)], [1.0, 0.0], share)
  return _by_class(found, hit, miss, truth.label[inside], classes)


def evaluate_vid(found: Boxes, truth: Boxes, names: Sequence[str], motion: np.ndarray | None = None, *,
                 motion_rule: str = "share", small_boxes: bool = True, edge: float = 1.0) -> dict[str, float]:
  """The measures of ImageNet VID, in percent.

  Args:
    found: detections.
    truth: boxes of all frames, generated ones too.
    names: of classes.
    motion: (M,), see `motion_iou`; None leaves the last three out.
    motion_rule: see `precisions_by_motion`.
    small_boxes: whether small boxes need less overlap, as on ImageNet VID.
    edge: 1 where x1 and y1 are the last pixels inside, as in ImageNet's files; 0 where they are the far edges.

  Returns:
    'mAP', 'AP/NAME' of each class, and 'mAP_slow', 'mAP_medium', 'mAP_fast'. Classes without a true box are nan
    and left out of means.
  """
  classes = len(names)
  each = average_precisions(found, truth, classes, small_boxes=small_boxes, edge=edge)
  out = {"mAP": mean_known(each), **{f"AP/{name}": float(value) for name, value in zip(names, each)}}
  if motion is not None:
    for name, within in MOTIONS.items():
      out[f"mAP_{name}"] = mean_known(precisions_by_motion(found, truth, classes, np.asarray(motion), within,
                                                           motion_rule=motion_rule, small_boxes=small_boxes,
                                                           edge=edge))
  return out
