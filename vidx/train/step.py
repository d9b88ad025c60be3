"""One training step: a pure function (state, batch) -> (state, metrics)."""

from collections.abc import Callable, Mapping
import fnmatch
import re
from typing import Any

from flax import traverse_util
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax

from vidx import errors
from vidx.data.batch import clip_of, inputs
from vidx.nn import augment, sites as sites_lib
from vidx.tasks.base import TARGETS
from vidx.train import optim
from vidx.train.state import TrainState

Batch = Mapping[str, jax.Array]


def prepare(batch: Batch, config: ConfigDict, task, num_classes: int, dtype: jnp.dtype,
            key: jax.Array | None = None) -> dict[str, jax.Array]:
  """What happens on the device before the model: normalisation, and in training mixup and cutmix.

  Args:
    batch: `video` or `flow`, uint8 (B, T, H, W, C), and the other arrays of the batch, in training `labelled`.
    config: whole config.
    task: gives soft labels where clips are mixed.
    num_classes: width of a soft label.
    dtype: compute dtype.
    key: randomness of mixing; None in evaluation.

  Returns:
    The batch with clips of `dtype`, and soft `label` and `labelled` where clips are mixed.
  """
  out = augment.on_device(batch, config.data.mean, config.data.std, dtype)
  clip = clip_of(out)
  if key is not None and (config.train.mixup or config.train.cutmix):
    which_key, mix_key = jax.random.split(key)
    soft = jnp.concatenate([task.target(out["label"], num_classes), out["labelled"][:, None]], axis=1)

    def mixed(mix, alpha):
      return lambda k: mix(k, out[clip], soft, alpha)

    mixes = [mixed(f, a) for f, a in ((augment.mixup, config.train.mixup),
                                      (augment.cutmix, config.train.cutmix)) if a]
    choice = jax.random.randint(which_key, (), 0, len(mixes))
    out[clip], soft = jax.lax.switch(choice, mixes, mix_key)
    out["label"], out["labelled"] = soft[:, :-1], soft[:, -1]
  return out


def summary(metrics: Mapping[str, Any]) -> dict[str, float]:
  """Figures of a step as numbers; of several runs at once (N,) the mean, and the deviation as NAME/std.

  What a batch without a labelled example does not define, its loss for one, is left out.
  """
  figures = {k: float(np.mean(v)) for k, v in metrics.items()}
  figures |= {f"{k}/std": float(np.std(v)) for k, v in metrics.items() if np.ndim(v) and k != "labelled"}
  if not figures.pop("labelled", 1.0):
    figures = {k: v for k, v in figures.items() if not np.isnan(v)}
  return figures


def keeping(loss: Callable[..., Any], pattern: str) -> Callable[..., Any]:
  """`loss`, for whose gradient only what leaves some sites of the network is kept, and all else is computed anew.

  Args:
    loss: a function of arrays that runs a network.
    pattern: glob pattern of sites, such as "*.out", the ends of the blocks; "" keeps everything.

  Raises:
    ConfigError: when it is called, where the network has no such site.
  """
  if not pattern:
    return loss

  def run(*args):
    sites = set()

    def name(site, x):
      sites.add(site.site)
      return checkpoint_name(x, "kept") if fnmatch.fnmatchcase(site.site, pattern) else x

    with sites_lib.leaving(name):
      found = loss(*args)
    if not fnmatch.filter(sites, pattern):
      raise errors.ConfigError(f"train.remat='{pattern}' matches no site of the network; it has"
                               f" {', '.join(sorted(sites)) or 'none'}.")
    return found

  return jax.checkpoint(run, policy=jax.checkpoint_policies.save_only_these_names("kept"))


def make_train_step(model, task, tx: optax.GradientTransformation, schedule: optax.Schedule,
                    config: ConfigDict, num_classes: int, dtype: jnp.dtype, total_steps: int = 1
                    ) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
  """The step for a model and a task.

  Per objective of the task, its loss is the weighted mean of its per-example
  losses over the labelled examples (over all, where it needs no labels) plus what
  blocks put into the collection `losses` (what they put into `figures` goes to the
  log alone); a batch without a labelled example has no such loss, which the log
  shows as nan, and trains nothing by it. Its gradient is
  taken for the parameters that its pattern names, and `task.combine` joins the
  gradients where patterns overlap: by their sum, or as a function (gradient trees,
  step, total_steps) -> (gradients, figures for the log). With `optimizer.accumulate`
  = k the batch is split into k micro-batches whose gradients add up to that of the
  whole batch (batch statistics are those of the micro-batches).
  """
  objectives = task.objectives
  micro = int(config.optimizer.accumulate)
  targets = tuple(key for key in getattr(model, "inputs", ()) if key in TARGETS)

  def losses_of(params, stats, batch, totals, key):
    """(losses (objectives,), (new stats, terms)) of one micro-batch."""
    mix_key, dropout_key = jax.random.split(key)
    batch = prepare(batch, config, task, num_classes, dtype, mix_key)
    outputs, new = model.apply({"params": params, **stats}, *inputs(model, batch), train=True,
                               rngs={"dropout": dropout_key}, mutable=[*stats, "losses", "figures"])
    new = dict(new)
    added = sum((jnp.sum(x) for x in jax.tree.leaves(new.pop("losses", {}))), jnp.zeros(()))
    shown = traverse_util.flatten_dict(new.pop("figures", {}), sep="/")
    losses, terms = [], {name: sum(values) / len(values) / micro for name, values in shown.items()}
    for objective in objectives:
      per_example, parts = objective.loss(outputs, batch)
      total = totals[objective.labelled]
      share = batch["weight"] / jnp.maximum(total, 1e-6)
      losses.append(jnp.sum(per_example * share))
      terms.update({k: jnp.where(total > 0, jnp.sum(v * share), jnp.nan) for k, v in parts.items()})
    losses[0] += added / micro
    return jnp.stack(losses), (new, terms)

  lean = keeping(losses_of, config.train.remat)

  def gradients(params, stats, batch, totals, key):
    frozen = optim.frozen(params, config.optimizer, model)
    hold = lambda p: jax.tree.map(lambda x, f: jax.lax.stop_gradient(x) if f else x, p, frozen)
    losses, pull, (stats, terms) = jax.vjp(
        lambda p: lean(hold(p), stats, batch, totals, key), params, has_aux=True)
    grads = []
    for i, objective in enumerate(objectives):
      g, = pull(jnp.zeros_like(losses).at[i].set(1.0))
      keep = optim.by_path(params, lambda path, o=objective: bool(re.search(o.pattern, path)))
      grads.append(jax.tree.map(lambda x, k: x if k else jnp.zeros_like(x), g, keep))
    return losses, grads, stats, terms

  def step(state: TrainState, batch: Batch):
    key = jax.random.fold_in(state.key, state.step)
    params = state.params
    batch = {**batch, "labelled": task.labelled(batch, targets or TARGETS)}
    if "progress" in getattr(model, "inputs", ()):
      batch["progress"] = jnp.full(batch["weight"].shape, state.step / total_steps, jnp.float32)
    labelled = jnp.sum(batch["weight"] * batch["labelled"])
    totals = {False: jnp.sum(batch["weight"]), True: labelled}
    if micro == 1:
      losses, grads, stats, terms = gradients(params, state.stats, batch, totals, key)
    else:
      parts = jax.tree.map(lambda x: x.reshape(-1, micro, *x.shape[1:]).swapaxes(0, 1), dict(batch))

      def body(carry, part):
        stats, (losses, grads, terms) = carry[0], carry[1]
        l, g, stats, t = gradients(params, stats, part[1], totals, jax.random.fold_in(key, part[0]))
        return (stats, jax.tree.map(jnp.add, (losses, grads, terms), (l, g, t))), None

      first = jax.tree.map(lambda x: x[0], parts)
      shapes = jax.eval_shape(lambda: gradients(params, state.stats, first, totals, key))
      zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (shapes[0], shapes[1], shapes[3]))
      (stats, (losses, grads, terms)), _ = jax.lax.scan(
          body, (state.stats, zeros), (jnp.arange(micro), parts))
    figures = {}
    if len(grads) > 1 and callable(task.combine):
      grads, figures = task.combine(grads, state.step, total_steps)
    else:
      grads = jax.tree.map(lambda *g: sum(g), *grads)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    scale = state.plateau["scale"]
    updates = jax.tree.map(lambda u: u * scale, updates)
    new_params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if config.optimizer.ema:
      ema = optax.incremental_update(new_params, ema, 1 - config.optimizer.ema)
    metrics = {"loss": jnp.where(labelled > 0, jnp.sum(losses), jnp.nan), "labelled": labelled,
               "grad_norm": optax.tree.norm(grads), "lr": schedule(state.step) * scale, **figures, **terms}
    return state.replace(step=state.step + 1, params=new_params, stats=stats,
                         opt_state=opt_state, ema=ema), metrics

  return step
