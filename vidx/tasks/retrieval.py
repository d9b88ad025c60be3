"""Retrieval: videos for texts and texts for videos, ranked over a whole split.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, chapter 6.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.metrics import retrieval
from vidx.nn import ranking
from vidx.tasks import base

TEXT, VIDEO = "text/", "video/"
PARTS = ("", "global", "local")
TOP = 5


@dataclasses.dataclass(frozen=True)
class Retrieval(base.Task):
  """Takes the embeddings 'text/NAME' and 'video/NAME' of vidx/systems/t2vlad.py.

  The loss ranks every pair of the global batch above all others, so a batch may not be cut
  into micro-batches. In evaluation it is that of the first captions of a batch.

  Attributes:
    loss_over: "all" negatives, or the hardest, "hard".
    margin: of the loss, m.
    parts: what is scored in evaluation: '' all that the system has, "global" or "local".
    half: whether embeddings of a split are kept in half precision, where it is large.
    sentences: (records,) int, which sentence each video has, where a sentence may be that of several videos.
  """

  loss_over: str = "all"
  margin: float = 0.02
  parts: str = ""
  half: bool = False
  sentences: Any = dataclasses.field(default=None, compare=False, repr=False)

  best_metric: ClassVar[str] = "t2v/gmean"
  headlines: ClassVar[tuple[str, ...]] = ("t2v/R@1", "t2v/R@5", "t2v/R@10", "t2v/MdR", "v2t/R@1")
  targets: ClassVar[Mapping[str, bool]] = {}
  inputs: ClassVar[tuple[str, ...]] = ("text_count",)
  pairs: ClassVar[bool] = True

  def __post_init__(self):
    for field, known in (("loss_over", ranking.LOSSES), ("parts", PARTS)):
      value = getattr(self, field)
      if value not in known:
        raise errors.ConfigError(f"task.{field} '{value}' is not one of {', '.join(filter(None, known))}"
                                 f"{errors.hint(value, known)}.")
    if not self.margin > 0:
      raise errors.ConfigError(f"task.margin={self.margin:g} is not above 0.")

  def for_dataset(self, dataset: Any) -> "Retrieval":
    """With the sentences that videos share, where a data set has such."""
    numbers = [r.extra.get("sentence", -1) for r in dataset.records]
    return dataclasses.replace(self, sentences=np.array(numbers) if numbers and min(numbers) >= 0 else None)

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The margin loss of each pair, and 'gap', by how much its score is above the mean of the others'.

    Examples that do not count, another caption of the same video, and videos with the same sentence are no negatives.
    """
    text, video = _side(outputs, TEXT), _side(outputs, VIDEO)
    if batch["text_mask"].ndim == 3:  # in evaluation
      text = {k: v[:, 0] for k, v in text.items()}
    scores = ranking.scores(text, video)
    there = (batch["weight"] > 0) & (batch["text_count"] > 0)
    index = batch["index"]
    negative = there[:, None] & there & (index[:, None] != index) & ~jnp.eye(len(index), dtype=bool)
    if self.sentences is not None:
      sentence = jnp.asarray(self.sentences)[index]
      negative &= sentence[:, None] != sentence
    loss = jnp.where(there, ranking.margin_loss(scores, self.margin, self.loss_over, negative), 0)
    others = jnp.where(negative, scores, 0).sum(1) / jnp.maximum(negative.sum(1), 1)
    return loss, {"ranking": loss, "gap": jnp.where(there, jnp.diagonal(scores) - others, 0)}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """The embeddings, of each caption and of the video; fp32, or fp16 where `half` asks for it."""
    dtype = jnp.float16 if self.half else jnp.float32
    found = {k: v.astype(dtype) for k, v in outputs.items() if k.startswith((TEXT, VIDEO))}
    if batch["text_mask"].ndim == 2:
      found = {k: v[:, None] if k.startswith(TEXT) else v for k, v in found.items()}
    return found

  def merge(self, key: str) -> str:
    """There is one view of a video."""
    del key
    return "first"

  def ragged(self, key: str) -> str | None:
    """Videos have as many captions as they have."""
    return "text_count" if key.startswith(TEXT) else None

  def scored(self, predictions: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The similarity of all texts and videos of a split.

    Returns:
      float32 (texts, videos), the row of the video that each text describes (texts,), and which caption of that it
      is (texts,).
    """
    counts = np.asarray(predictions["text_count"])
    owner = np.repeat(np.arange(len(counts)), counts)
    which = np.concatenate([np.arange(c) for c in counts]) if len(counts) else np.zeros(0, int)
    text = {k: np.concatenate(list(v)) for k, v in _side(predictions, TEXT).items()}
    return retrieval.similarity(text, _side(predictions, VIDEO), _parts(self.parts)), owner, which

  def metrics(self, predictions: Mapping[str, Any]) -> dict[str, float]:
    """Those of `vidx.metrics.retrieval.evaluate`; of shared sentences each is one text."""
    if not len(predictions["index"]) or not np.sum(predictions["text_count"]):
      return {self.best_metric: float("nan")}
    if self.sentences is None:
      similarity, owner, _ = self.scored(predictions)
      return retrieval.evaluate(similarity, owner)
    sentences = self.sentences[predictions["index"]]
    known, first = np.unique(sentences, return_index=True)
    text = {k: np.stack([v[i][0] for i in first]) for k, v in _side(predictions, TEXT).items()}
    similarity = retrieval.similarity(text, _side(predictions, VIDEO), _parts(self.parts))
    return retrieval.evaluate(similarity, known, sentences)

  def describe(self, predictions: Mapping[str, Any], row: int, dataset: Any, top: int = TOP) -> dict[str, Any]:
    """{'captions', 'experts'}: what is said of a video, and how many experts saw something in it."""
    record = dataset.records[int(predictions["index"][row])]
    experts = predictions.get(VIDEO + "available")
    return {"captions": list(record.extra.get("captions", ()))[:top],
            **({} if experts is None else {"experts": int(np.sum(experts[row] > 0))})}

  def samples(self, predictions: Mapping[str, Any], dataset: Any, limit: int) -> base.Samples:
    """Texts of an even choice of the videos: {'query', 'rank' of the video, 'found': [{'id', 'score'}], 'right'}."""
    counts = np.asarray(predictions["text_count"])
    rows = [row for row in base.evenly(len(counts), limit) if counts[row]]
    if not rows:
      return []
    text = {k: np.stack([v[row][0] for row in rows]) for k, v in _side(predictions, TEXT).items()}
    similarity = retrieval.similarity(text, _side(predictions, VIDEO), _parts(self.parts))
    record = lambda row: dataset.records[int(predictions["index"][row])]
    shown = []
    for scores, row in zip(similarity, rows):
      place = int((scores > scores[row]).sum()) + 1
      best = np.argsort(-scores, kind="stable")[:TOP]
      found = [{"id": record(i).id, "score": round(float(scores[i]), 4)} for i in best]
      shown.append((row, {"query": record(row).extra["captions"][0], "rank": place, "found": found,
                          "right": place == 1}))
    return shown


def _parts(name: str) -> Sequence[str]:
  return (name,) if name else ()


def _side(found: Mapping[str, Any], prefix: str) -> dict[str, Any]:
  """The embeddings of texts or of videos by name."""
  return {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
