"""Precise batch statistics: those of the trained network as it is, over many batches, in place of running averages.

Wu, Johnson: "Rethinking 'Batch' in BatchNorm", 2021, section 3. The batches are drawn
anew for each evaluation, by the seed and the step, and change nothing about the ones that
training sees, so that a run that goes on later goes on exactly.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vidx.data import batch as batch_lib, pipeline
from vidx.data.records import Dataset
from vidx.nn import norm
from vidx.train import sharding, step as step_lib


def make_statistics(model: Any, task: Any, config: ConfigDict, num_classes: Any, dtype: Any
                    ) -> Callable[[Any, Mapping[str, jax.Array], jax.Array], Any]:
  """The compiled function (state, batch, key) -> the batch statistics of one batch, in training mode."""

  @jax.jit
  def statistics(state, batch, key):
    batch = {**batch, "labelled": task.labelled(batch)}
    batch = step_lib.prepare(batch, config, task, num_classes, dtype)
    with norm.exact_statistics():
      _, new = model.apply({"params": state.ema or state.params, **state.stats}, *batch_lib.inputs(model, batch),
                           train=True, rngs={"dropout": key}, mutable=["batch_stats", "losses", "figures"])
    return new["batch_stats"]

  return statistics


def averaged(found: Iterable[Any]) -> Any:
  """Statistics of many equal batches as those of all their examples: means, and variances with that of the means.

  Moments are taken about the first batch's mean: about 0 a large mean would leave no digits for a small variance.
  """
  count, first, total = 0, None, None
  for stats in found:
    first = stats if first is None else first
    moments = _moments(stats, first, lambda mean, var, centre: (mean - centre, var + jnp.square(mean - centre)))
    total = moments if total is None else jax.tree.map(jnp.add, total, moments)
    count += 1
  return _moments(jax.tree.map(lambda x: x / count, total), first, lambda shift, square, centre: (
      centre + shift, jnp.maximum(square - jnp.square(shift), 0)))


def _moments(tree: Any, first: Any, change: Callable) -> Any:
  """The tree with every pair of 'mean' and 'var' changed, which gets the first batch's mean, too; others stay."""
  if not isinstance(tree, Mapping):
    return tree
  if {"mean", "var"} <= set(tree):
    mean, var = change(tree["mean"], tree["var"], first["mean"])
    return {**tree, "mean": mean, "var": var}
  return {name: _moments(value, first[name], change) for name, value in tree.items()}


def refreshed(state: Any, statistics: Callable, dataset: Dataset, config: ConfigDict, run: Any, step: int) -> Any:
  """The state with the statistics of `train.precise_bn` batches of a training set.

  Args:
    state: of the run.
    statistics: see `make_statistics`.
    dataset: the training split.
    config: of the run.
    run: whose `mesh`, `model`, `task` and `shardings` are used.
    step: of the training, which with the seed says which batches are drawn.
  """
  if "batch_stats" not in state.stats:
    return state
  key = jax.random.fold_in(jax.random.PRNGKey(config.seed), step)
  batches = pipeline.train_batches(
      dataset, config.data, batch_size=config.train.batch_size, seed=config.seed + 1_000_003 + step, start=0,
      process=sharding.share(run.mesh), wanted=batch_lib.wanted(run.model, run.task))
  try:
    each = (statistics(state, sharding.put_batch(next(batches), run.mesh), jax.random.fold_in(key, i))
            for i in range(config.train.precise_bn))
    stats = {**state.stats, "batch_stats": averaged(each)}
  finally:
    batches.close()
  return state.replace(stats=jax.device_put(stats, run.shardings.stats))
