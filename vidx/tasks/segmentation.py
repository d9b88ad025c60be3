"""Temporal action segmentation: a class for every frame of a long video; what is learned is the system's own loss."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.metrics import accuracy, segments
from vidx.tasks import base, timelines
from vidx.tasks.timelines import MAIN


@dataclasses.dataclass(frozen=True)
class Segmentation(base.Task):
  """Attributes:
    ignore: names of classes whose segments no measure counts.
    background: names of the classes that 'mof_bg', 'jaccard' and 'iod_bg' leave out.
    average: of F1 and accuracy: 'pooled' over all videos, or the mean of each 'video'.

  A data set turns names into class ids.
  """

  ignore: Sequence[str | int] = ()
  background: Sequence[str | int] = ()
  average: str = "pooled"

  best_metric: ClassVar[str] = "mof"
  headlines: ClassVar[tuple[str, ...]] = ("edit", "f1@50")
  targets: ClassVar[Mapping[str, bool]] = {base.LABEL: True}

  def __post_init__(self):
    errors.check_choice("task.average", self.average, segments.AVERAGES)
    for field in ("ignore", "background"):
      value = getattr(self, field)
      object.__setattr__(self, field, (value,) if isinstance(value, str) else tuple(value))

  def for_dataset(self, dataset: Any) -> "Segmentation":
    """With class ids for names."""

    def ids(field):
      for name in getattr(self, field):
        if isinstance(name, str) and name not in dataset.classes:
          raise errors.ConfigError(f"task.{field}: '{name}' is no class of data set '{dataset.name}'"
                                   f"{errors.hint(name, dataset.classes)}.")
      return tuple(dataset.classes.index(n) if isinstance(n, str) else n for n in getattr(self, field))

    return dataclasses.replace(self, ignore=ids("ignore"), background=ids("background"))

  def labelled(self, batch: base.Batch, targets: Sequence[str] = base.TARGETS) -> jax.Array:
    """1 where one of the targets is known: a set, a transcript or the class of a frame."""
    if "labelled" in batch:
      return batch["labelled"]
    known = jnp.zeros(batch["length"].shape, bool)
    for key, least in (("label", 1), ("transcript", 0), ("frame_label", 0)):
      if key in batch and key in targets:
        known |= (jnp.asarray(batch[key]) >= least).any(-1)
    return known.astype(jnp.float32)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The system's losses; 0 for an unlabelled example. Its `stats` are terms for the log alone."""
    known = self.labelled(batch)
    terms, stats = ({name: jnp.where(known > 0, value, 0) for name, value in outputs.get(key, {}).items()}
                    for key in ("losses", "stats"))
    return sum(terms.values(), jnp.zeros_like(known)), {**terms, **stats}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """Arrays of every frame (B, T): 'frames/predicted', class ids of the system's first read-out,
    'frames/predicted/NAME' of its others, 'frames/confidence' and, where known, 'frames/truth'."""
    main, *others = outputs["predictions"].items()
    found = {base.FRAMES + MAIN: main[1], **{f"{base.FRAMES}{MAIN}/{name}": y for name, y in others},
             base.FRAMES + "confidence": outputs["confidence"]}
    if "frame_label" in batch:
      found[base.FRAMES + "truth"] = batch["frame_label"]
    return found

  def metrics(self, predictions: Mapping[str, Any]) -> dict[str, float]:
    """Of lists of (T,) arrays: the measures of `segments.evaluate`, and as 'NAME/mof' ... those of other read-outs.

    Videos with frames of unknown class are left out.
    """
    known = _known(predictions)
    if not len(known):
      return {self.best_metric: float("nan")}
    truth = predictions[base.FRAMES + "truth"][known]
    result = {}
    for key in sorted(k for k in predictions if k.startswith(base.FRAMES + MAIN)):
      name = key.removeprefix(base.FRAMES + MAIN).removeprefix("/")
      found = segments.evaluate(predictions[key][known], truth, self.ignore, self.average, self.background)
      result.update({f"{name}/{k}" if name else k: v for k, v in found.items()})
    return result

  def details(self, predictions: Mapping[str, Any]) -> dict[str, Any]:
    """Of frames: {'count' (C,), 'accuracy' (C,) percent, 'confusion' (C, C)}, C up to the largest class id."""
    known = _known(predictions)
    if not len(known):
      return {}
    truth, found = (np.concatenate(predictions[base.FRAMES + k][known]) for k in ("truth", MAIN))
    classes = predictions["label"].shape[1]
    confusion = np.bincount(truth * classes + found, minlength=classes ** 2).reshape(classes, classes)
    return {"count": confusion.sum(axis=1), "accuracy": accuracy.per_class_accuracy(confusion), "confusion": confusion}

  def merge(self, key: str) -> str:
    """There is one view of a video, and class ids have no mean."""
    del key
    return "first"

  def describe(self, predictions: Mapping[str, Any], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """See `timelines.entry`."""
    del top
    return timelines.entry(predictions, row, dataset.classes)

  @property
  def nothing(self) -> dict[str, Any]:
    """No segments."""
    return {"segments": []}

  def samples(self, predictions: Mapping[str, Any], dataset: Any, limit: int) -> base.Samples:
    """Up to `limit` videos, evenly over the split; 'right' is the share of right frames."""
    found = []
    for row in base.evenly(len(predictions["index"]), limit):
      entry = timelines.entry(predictions, row, dataset.classes)
      if "truth" in entry:
        entry["right"] = float(np.mean(predictions[base.FRAMES + MAIN][row] == predictions[base.FRAMES + "truth"][row]))
      found.append((row, entry))
    return found


def _known(predictions: Mapping[str, Any]) -> np.ndarray:
  """Rows of the videos whose frames all have a true class."""
  truth = predictions.get(base.FRAMES + "truth", ())
  return np.flatnonzero([len(y) > 0 and y.min() >= 0 for y in truth])
