"""Prediction in two steps: all candidates are scored in small, then the chosen ones are fetched and classified.

For systems that declare a `frame_choice` and have the methods `score`, `choose` and `classify`.
Between two compiled programs the host reads the numbers of the chosen frames; while
one batch is classified, the candidates of the next are decoded.
"""

from collections.abc import Sequence
from concurrent import futures
import os
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import candidates
from vidx.data.records import Dataset, Record
from vidx.nn import augment
from vidx.train.evaluator import EvalResult


def applies(model: Any, clips: int, crops: int) -> bool:
  """Whether a model chooses frames by scores, and there is one view of each video."""
  return getattr(model, "frame_choice", None) is not None and clips == crops == 1 and jax.process_count() == 1


def programs(model, config: ConfigDict, dtype: Any):
  """The two compiled functions.

  Returns:
    score(variables, uint8 (B, N, h, w, 3)) -> chosen (B, M), weights (B, M); and
    classify(variables, uint8 (B, M, d, H, W, 3), weights) -> the model's outputs.
  """
  normal = lambda x: augment.on_device({"video": x}, config.data.mean, config.data.std, dtype)["video"]

  @jax.jit
  def score(variables, small):
    scores = model.apply(variables, normal(small), method="score")["scores"]
    return model.apply(variables, scores, method="choose")

  @jax.jit
  def classify(variables, frames, weights):
    frames = frames[:, :, 0] if frames.shape[2] == 1 else frames
    return model.apply(variables, normal(frames), weights, method="classify")

  return score, classify


def predict(model, variables: Any, task, dataset: Dataset, config: ConfigDict, dtype: Any = jnp.float32, *,
            batch_size: int = 8) -> EvalResult:
  """Predictions of all videos of a split from their chosen frames.

  Args:
    model: the system.
    variables: of it.
    task: gives predictions.
    dataset: the split; labels are not looked at.
    config: of the run.
    dtype: compute dtype.
    batch_size: videos per batch.

  Returns:
    `predictions` with 'scores' (V, C), 'index' (V,), 'frames' (V, M), numbers in the
    video of the (middle) frames chosen, the best first, and 'weights' (V, M); of the
    videos that could be decoded.
  """
  score, classify = programs(model, config, dtype)
  crop = config.data.test_crop or config.data.crop
  choice, failures, rows, scores = model.frame_choice, {}, [], []
  batches = [range(i, min(i + batch_size, len(dataset))) for i in range(0, len(dataset), batch_size)]
  with futures.ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2))) as pool:
    ask = lambda batch: [pool.submit(_opened, dataset.records[i], config.data, choice.size) for i in batch]
    waiting = ask(batches[0])
    for number, batch in enumerate(batches):
      with candidates.closing([job.result() for job in waiting]) as found:
        waiting = ask(batches[number + 1]) if number + 1 < len(batches) else []
        shape = (batch_size, config.data.frames, *(choice.size or crop,) * 2, 3)
        small = np.zeros(shape, np.uint8)
        for slot, one in enumerate(found):
          if isinstance(one, candidates.Candidates):
            small[slot] = one.small
        chosen, weights = jax.device_get(score(variables, small))
        full = list(pool.map(_full, found, chosen))
        frames = np.zeros((batch_size, choice.keep, config.data.consecutive, *(crop,) * 2, 3), np.uint8)
        for slot, (index, one) in enumerate(zip(batch, full)):
          if isinstance(one, str):
            failures[dataset.records[index].id] = one
          else:
            frames[slot] = one
            middle = found[slot].index[chosen[slot], config.data.consecutive // 2]
            rows.append({"index": index, "frames": middle, "weights": weights[slot], "at": (number, slot)})
      scores.append(task.predict(classify(variables, frames, weights), {})["scores"])  # read in the end, not waited for
    scores = jax.device_get(scores)
  for row in rows:
    number, slot = row.pop("at")
    row["scores"] = scores[number][slot]
  predictions = {k: np.stack([r[k] for r in rows]) if rows else np.zeros(0)
                 for k in ("index", "scores", "frames", "weights")}
  return EvalResult(dataset, predictions, {}, failures)


def _opened(record: Record, data: ConfigDict, size: int) -> candidates.Candidates | str:
  """The candidates of a video, or why there are none."""
  try:
    return candidates.Candidates(record, data, size)
  except errors.DecodeError as e:
    return str(e)


def _full(found: candidates.Candidates | str, chosen: Sequence[int]) -> np.ndarray | str:
  if isinstance(found, str):
    return found
  try:
    return found.full(chosen)
  except errors.DecodeError as e:
    return str(e)
