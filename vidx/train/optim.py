"""Optimisers: optax chains with parameter groups given by patterns over parameter paths."""

from collections.abc import Sequence
import operator
import re
from typing import Any

from flax import traverse_util
import jax
from ml_collections import ConfigDict
import optax

from vidx import errors
from vidx.train import ranger

NAMES = ("sgd", "adamw", "lamb", "ranger")


def by_path(params: Any, value) -> Any:
  """Tree like `params` of value(path), path as in 'res2/0/conv1/kernel'."""
  flat = traverse_util.flatten_dict(params, sep="/")
  return traverse_util.unflatten_dict({k: value(k) for k in flat}, sep="/")


def matches(params: Any, patterns: Sequence[str], what: str) -> Any:
  """Tree of booleans: whether a parameter's path matches one of the patterns.

  Raises:
    ConfigError: a pattern that matches nothing.
  """
  paths = list(traverse_util.flatten_dict(params, sep="/"))
  for pattern in patterns:
    if not any(re.search(pattern, p) for p in paths):
      raise errors.ConfigError(
          f"{what} pattern '{pattern}' matches no parameter; they are called like {', '.join(paths[:3])}.")
  return by_path(params, lambda path: any(re.search(p, path) for p in patterns))


def frozen(params: Any, config: ConfigDict, model: Any = None) -> Any:
  """A tree of booleans: parameters that are not trained, by `optimizer.frozen` or since their model holds them.

  Args:
    params: parameters or their shapes.
    config: section `optimizer`.
    model: whose `held`, where it has any, are patterns of those that it gives no gradient; they must not decay either.

  Raises:
    ConfigError: a pattern of `optimizer.frozen` that matches no parameter.
  """
  held = getattr(model, "held", ())
  return jax.tree.map(operator.or_, matches(params, config.frozen, "optimizer.frozen"),
                      by_path(params, lambda path: any(re.search(p, path) for p in held)))


def check_frozen(params: Any, config: ConfigDict, model: Any, names: Sequence[str], key: str, what: str) -> None:
  """Raises ConfigError where a part of a model is trained of which a key of the config keeps what it makes.

  Args:
    params: see `frozen`.
    config: see `frozen`.
    model: see `frozen`.
    names: of its parts.
    key: of the config.
    what: the parts see.
  """
  still = frozen(params, config, model)
  for name in names:
    if not all(jax.tree.leaves(still[name])):
      raise errors.ConfigError(f"{key} keeps what '{name}' makes of {what}, which has to stay as it is: add '^{name}/'"
                               " to optimizer.frozen.")


def multipliers(params: Any, config: ConfigDict) -> tuple[Any, Any]:
  """Trees of (learning-rate, weight-decay) multipliers from `groups` and `no_decay`."""
  matches(params, [g[0] for g in config.groups], "optimizer.groups")

  def group(path):
    return next(((lr, decay) for pattern, lr, decay in config.groups if re.search(pattern, path)), None)

  def decay(path):
    found = group(path)
    if found is not None:
      return float(found[1])
    return 0.0 if config.no_decay and re.search(config.no_decay, path) else 1.0

  rate = by_path(params, lambda path: float(group(path)[0]) if group(path) else 1.0)
  return rate, by_path(params, decay)


def _scaled_decay(weight_decay: float, decay: Any) -> optax.GradientTransformation:
  return optax.stateless(
      lambda updates, params: jax.tree.map(
          lambda u, p, d: u + (weight_decay * d) * p if d else u, updates, params, decay))


def clip_by_groups(groups: Sequence[tuple[str, float]], norm: float) -> optax.GradientTransformation:
  """Bounds the global norm of each group of gradients by its own limit, that of the rest by `norm`.

  Args:
    groups: (pattern, limit); the first pattern that a path matches counts.
    norm: of what no pattern matches; 0: no bound.
  """
  limits = (*(limit for _, limit in groups), norm)

  def update(updates, _):
    flat = traverse_util.flatten_dict(updates, sep="/")
    group = {path: next((i for i, (pattern, _) in enumerate(groups) if re.search(pattern, path)), len(groups))
             for path in flat}
    clipped = dict(flat)
    for i, limit in enumerate(limits):
      own = {path: g for path, g in flat.items() if group[path] == i}
      if limit and own:
        clipped.update(optax.clip_by_global_norm(limit).update(own, optax.EmptyState())[0])
    return traverse_util.unflatten_dict(clipped, sep="/")

  return optax.stateless(update)


def make_optimizer(config: ConfigDict, schedule: optax.Schedule, params: Any, model: Any = None
                   ) -> optax.GradientTransformation:
  """The chain clip -> decay and momentum in the optimiser's order -> rate x group.

  SGD adds weight decay to the gradient (L2); AdamW, LAMB and Ranger decouple it. Frozen
  parameters have no optimiser state.

  Args:
    config: section `optimizer`.
    schedule: step -> rate.
    params: parameters or their shapes.
    model: see `frozen`.
  """
  errors.check_choice("optimizer.name", config.name, NAMES)
  rate, decay = multipliers(params, config)
  still = frozen(params, config, model)
  matches(params, [pattern for pattern, _ in config.clip_groups], "optimizer.clip_groups")
  labels = jax.tree.map(lambda f: "frozen" if f else "train", still)

  def masked(tree):  # inside multi_transform frozen leaves are MaskedNodes
    return jax.tree.map(lambda x, f: optax.MaskedNode() if f else x, tree, still)

  rate, decay = masked(rate), masked(decay)
  add_decay = _scaled_decay(config.weight_decay, decay)
  adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
  if config.name == "sgd":
    core = [add_decay]
    if config.momentum:
      core.append(optax.trace(config.momentum, config.nesterov))
  elif config.name == "adamw":
    core = [adam, add_decay]
  elif config.name == "ranger":
    core = [ranger.scale_by_rectified(config.b1, config.b2, config.eps), add_decay]
  else:
    core = [adam, add_decay, optax.scale_by_trust_ratio()]
  groups = optax.stateless(lambda updates, _: jax.tree.map(lambda u, m: u * m if m != 1.0 else u, updates, rate))
  clip = [clip_by_groups(config.clip_groups, config.clip_norm)] if config.clip_norm or config.clip_groups else []
  last = [ranger.look_ahead()] if config.name == "ranger" else []
  chain = optax.chain(*clip, *core, groups, optax.scale_by_learning_rate(schedule), *last)
  return optax.multi_transform({"train": chain, "frozen": optax.set_to_zero()}, labels)
