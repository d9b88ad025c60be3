"""Multi-view evaluation: every video of a split once, under any sharding and padding."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import itertools
from typing import Any

import einops
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib, triplets
from vidx.data.records import Dataset
from vidx.nn import augment, tracing
from vidx.tasks import base
from vidx.terminal import counted
from vidx.train import sharding, state



@dataclasses.dataclass(frozen=True)
class EvalResult:
  """What evaluating a split gave.

  Attributes:
    dataset: the split, with the classes of the model.
    predictions: those of the task, such as 'scores' (N, C), and 'label' (N,) or (N, C),
      'index' (N,) position in the split, 'loss' (N,), 0 where 'labelled' (N,) is 0; one row per video that could be
      decoded, by index. What is ragged (see `Task.ragged`) are N arrays, each of its
      own length. Of several seeds, those of the first.
    metrics: of the task, and the mean 'loss' of the labelled videos; of several seeds their means.
    failures: reason by id of every video that could not be decoded.
    members: the metrics of each seed, where there are several.
    details: of the task, where its metrics are made of them; None: `task.details` gives them.
  """

  dataset: Dataset
  predictions: dict[str, np.ndarray]
  metrics: dict[str, float]
  failures: dict[str, str]
  members: tuple[dict[str, float], ...] = ()
  details: dict[str, Any] | None = None

  @property
  def deviations(self) -> dict[str, float]:
    """Standard deviation of every metric over the seeds, where there are several."""
    return {k: float(np.std([m[k] for m in self.members])) for k in self.metrics} if self.members else {}

  @property
  def videos(self) -> int:
    return len(self.dataset)

  @property
  def evaluated(self) -> int:
    return len(self.predictions["index"])

  @property
  def labelled(self) -> int:
    """How many of the evaluated videos have a label."""
    return int(np.count_nonzero(self.predictions["labelled"]))


def make_forward(model, task, *, mesh: jax.sharding.Mesh, mean: Sequence[float], std: Sequence[float],
                 dtype: Any, seeds: int = 1
                 ) -> Callable[[Any, Mapping[str, jax.Array]], tuple[dict[str, jax.Array], ...]]:
  """The compiled function (variables, batch) -> predictions of some views, and what of the batch comes along.

  The batch's clips are uint8 (B, V, T, H, W, C); predictions of its V views are joined
  as the task says. A batch without clips has no views. With several seeds
  variables and predictions have their axis in front. All outputs are
  whole on every device, so that each process reads all of them.
  """

  targets = tuple(key for key in getattr(model, "inputs", ()) if key in base.TARGETS) or base.TARGETS

  @tracing.spread_over(sharding.parts(mesh))
  def forward(variables, batch):
    views = _views(batch)

    def flat(key, x):
      return einops.rearrange(x, "b v ... -> (b v) ...") if batch_lib.has_views(key) else jnp.repeat(x, views, axis=0)

    each = {k: flat(k, v) for k, v in batch.items()} if views else dict(batch)
    each = augment.on_device(each, mean, std, dtype)
    each["labelled"] = task.labelled(each, targets)
    along = {k: v for k, v in each.items() if batch_lib.is_kept(k) and batch_lib.has_views(k)}

    def found_with(variables):
      outputs = model.apply(variables, *batch_lib.inputs(model, each), train=False)
      found = {**along, **task.predict(outputs, each), "loss": task.loss(outputs, each)[0],
               "labelled": each["labelled"]}
      if not views:
        return found
      return {k: _merged(einops.rearrange(v, "(b v) ... -> b v ...", v=views), _merge(task, k),
                         batch.get("view_weight")) for k, v in found.items()}

    found = (state.over_seeds(found_with) if seeds > 1 else found_with)(variables)
    return found, {k: v for k, v in batch.items() if batch_lib.is_kept(k) and k not in along or k == "view_weight"}

  return jax.jit(forward, out_shardings=sharding.replicated(mesh))


def _merge(task, key: str) -> str:
  return "mean" if key in ("loss", "labelled") or batch_lib.has_views(key) else task.merge(key)


def _merged(x: jax.Array, how: str, weight: jax.Array | None) -> jax.Array:
  """(B, V, ...) of all views as one prediction per example, or (how='none') as it is."""
  if how == "none":
    return x
  if how == "first":
    return x[:, 0]
  if weight is not None:
    weight = weight.reshape(*weight.shape, *(1,) * (x.ndim - 2))
  if how == "max":
    return (x if weight is None else jnp.where(weight > 0, x, -jnp.inf)).max(1)
  x = x.astype(jnp.float32)
  return x.mean(1) if weight is None else (x * weight).sum(1) / jnp.maximum(weight.sum(1), 1)


def run(forward, variables, task, batches: Iterable[Mapping[str, Any]], *, num_videos: int, mesh: jax.sharding.Mesh,
        view_batch: int | None = None, seeds: int = 1) -> tuple[list[dict[str, np.ndarray]], dict[str, str]]:
  """Predictions of all videos of a split, for each seed, the same in every process; and the failures.

  Args:
    forward: see `make_forward`.
    variables: {'params', ...}, on the mesh, or whole in every process.
    task: says how views join and what is ragged.
    batches: this process' share of each batch (see `sharding.share`), a finite iterable, of equal length
      in all processes, perhaps with `failures`.
    num_videos: records in the split.
    mesh: the batch is divided over its axes data x fsdp.
    view_batch: most clips (videos x views over all processes) in one forward
      pass; one view of every video where that is more, or where None.
    seeds: how many of them there are.
  """
  variables = placed(variables, mesh)
  rows, pending = [], None
  for batch in batches:
    size = len(batch["weight"]) * sharding.share(mesh)[1]
    if "view_weight" in batch:  # as many views as the longest video of all processes has, in equal chunks
      chunk = max(1, (view_batch or 0) // size)
      views = -(-max(sharding.gather_json(_views(batch))) // chunk) * chunk
      batch = batch_lib.with_views(batch, views, axis=1)
    else:
      views = _views(batch) or 1
      chunk = next(g for g in range(views, 0, -1) if views % g == 0 and (g == 1 or size * g <= (view_batch or 0)))
    parts = []
    for v in range(0, views, chunk):
      some = {k: x[:, v:v + chunk] if batch_lib.has_views(k) else x for k, x in batch.items()}
      parts.append(forward(variables, sharding.put_batch(some, mesh)))
    if pending is not None:  # read one batch late: the device always has the next one to work on
      rows.append(_rows(pending, task, seeds))
    pending = parts
  if pending is not None:
    rows.append(_rows(pending, task, seeds))
  if not rows:
    raise errors.DataError("there is nothing to evaluate: the split gave no batches.")
  failures = sharding.gather_dict(getattr(batches, "failures", {}))
  members = [[r[i] for r in rows] for i in range(seeds)]
  return [_once({k: np.concatenate([r[k] for r in own]) for k in own[0]}, num_videos) for own in members], failures


def _views(batch: Mapping[str, Any]) -> int:
  """Views of each example, 0 of what has none."""
  return next((v.shape[1] for k, v in batch.items() if batch_lib.has_views(k)), 0)


def placed(variables: Any, mesh: jax.sharding.Mesh) -> Any:
  """Variables on the mesh: those that are there stay, others are replicated."""
  whole = sharding.replicated(mesh)

  def place(x):
    if isinstance(x, jax.Array) and getattr(x.sharding, "mesh", None) == mesh:
      return x
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, whole, lambda part: x[part])

  return jax.tree.map(place, variables)


def _rows(parts: list[tuple[Mapping[str, jax.Array], ...]], task, seeds: int) -> list[dict[str, np.ndarray]]:
  """For each seed one row per example, from the outputs of some of its views each."""
  parts = jax.device_get(parts)
  kept = dict(parts[0][1])
  weights = [p[1]["view_weight"].sum(1) for p in parts] if kept.pop("view_weight", None) is not None else None
  rows = []
  for i in range(seeds):
    each = [{k: v[i] for k, v in p[0].items()} if seeds > 1 else p[0] for p in parts]
    own = {k: _joined([p[k] for p in each], _merge(task, k), weights) for k in each[0]}
    own |= kept
    counts = {k: task.ragged(k) for k in own}
    rows.append({k: v if counts[k] is None else _cut(v, own[counts[k]]) for k, v in own.items()})
  return rows


def _joined(parts: list[np.ndarray], how: str, weights: list[np.ndarray] | None) -> np.ndarray:
  """Predictions of some views each as those of all, see `_merged`; `weights` count the views of examples (B,)."""
  if how == "first":
    return parts[0]
  if how == "none":
    return np.concatenate(parts, axis=1)
  if how == "max":
    return np.max(parts, axis=0)
  if weights is None:
    return np.mean(parts, axis=0)
  shape = (len(parts), -1, *(1,) * (parts[0].ndim - 1))
  total = np.maximum(np.sum(weights, 0), 1).reshape(shape[1:])
  return np.sum(np.stack(parts) * np.reshape(weights, shape), 0) / total


def _cut(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """Values (B, T) as B arrays of their own lengths."""
  cut = np.empty(len(values), object)
  for i, (row, length) in enumerate(zip(values, lengths)):
    cut[i] = row[:length].copy()  # not the padding with it
  return cut


def _once(rows: Mapping[str, np.ndarray], num_videos: int) -> dict[str, np.ndarray]:
  """Rows without padding (index -1), failures (weight 0) and duplicates, by index."""
  seen = np.unique(rows["index"][rows["index"] >= 0])
  if len(seen) != num_videos:
    raise RuntimeError(f"the batches held {len(seen)} of the {counted(num_videos, 'video')} of the split.")
  live = np.flatnonzero(rows["weight"] > 0)
  _, first = np.unique(rows["index"][live], return_index=True)
  return {k: v[live[first]] for k, v in rows.items() if k != "weight"}


class Evaluator:
  """Evaluates one model again and again, compiled once.

  `evaluator(variables, dataset, clips=1, crops=1)` gives an `EvalResult`; with several
  seeds the variables of all, an axis in front.
  """

  def __init__(self, model, task, *, mesh: jax.sharding.Mesh, config: ConfigDict, dtype: Any, seeds: int = 1):
    self.task, self.mesh, self.data, self._seeds = task, mesh, config.data, seeds
    self._model, self._wanted = model, batch_lib.wanted(model, task)
    self._forward = make_forward(model, task, mesh=mesh, mean=config.data.mean, std=config.data.std, dtype=dtype,
                                 seeds=seeds)

  def __call__(self, variables: Any, dataset: Dataset, *, clips: int = 1, crops: int = 1, batch_size: int = 16,
               view_batch: int | None = None) -> EvalResult:
    from vidx.data import pipeline
    triplets.check_room(self._model, dataset, False)
    batches = pipeline.eval_batches(dataset, self.data, batch_size=fitting(batch_size, self.mesh), clips=clips,
                                    crops=crops, process=sharding.share(self.mesh), wanted=self._wanted)
    try:
      members, failures = run(self._forward, variables, self.task, batches, num_videos=len(dataset), mesh=self.mesh,
                              view_batch=view_batch, seeds=self._seeds)
    finally:
      batches.close()
    task = self.task.for_dataset(dataset)
    first, details = figures(task, members[0])
    metrics = (first, *(summary(task, predictions) for predictions in members[1:]))
    mean = {k: float(np.mean([m[k] for m in metrics])) for k in metrics[0]}
    return EvalResult(dataset, members[0], mean, failures, metrics if self._seeds > 1 else (), details)


def check(run: Any, dataset: Dataset, tries: int = 8) -> None:
  """Makes one example as the evaluations of a run will, of the first of a few videos that can be decoded.

  Args:
    run: of `build.build`; what `data.cache` and `data.phrases.codes` keep is there, and the vocabulary.
    dataset: the split that is evaluated while the run trains.
    tries: of how many videos.

  Raises:
    UserError: the settings of evaluation do not go together, or not with the data, or a system has no room for them.
  """
  from vidx.data import pipeline
  triplets.check_room(run.model, dataset, False)
  data, views = run.config.data.copy_and_resolve_references(), run.config.eval
  data.workers = 0  # threads are ready at once
  with pipeline.eval_batches(dataset, data, batch_size=1, clips=views.clips, crops=views.crops,
                             wanted=batch_lib.wanted(run.model, run.task)) as batches:
    any(batch["weight"][0] > 0 for batch in itertools.islice(batches, tries))


def fitting(batch_size: int, mesh: jax.sharding.Mesh) -> int:
  """The next batch size that divides over the mesh; results do not depend on it."""
  unit = sharding.parts(mesh)
  return -(-batch_size // unit) * unit


def summary(task, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
  """The task's metrics and the mean loss of the labelled videos; nan where no video could be decoded or has a label."""
  return figures(task, predictions)[0]


def figures(task, predictions: Mapping[str, np.ndarray]) -> tuple[dict[str, float], dict[str, Any] | None]:
  """`summary`, and what `task.figures` gives of the details."""
  if not len(predictions["index"]):
    return {task.best_metric: float("nan"), "loss": float("nan")}, {}
  total, labelled = (float(predictions[key].sum(dtype=np.float64)) for key in ("loss", "labelled"))
  metrics, details = task.figures(predictions)
  return {**metrics, "loss": total / labelled if labelled else float("nan")}, details
