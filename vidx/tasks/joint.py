"""Classification with a second objective for some of the parameters: energy of a residual beside cross entropy.

Huang: "Spatio-Temporal Modeling for Action Recognition in Videos", 2022, section 3.5.4.
With g1 the gradient of the first objective and g2 that of the cross entropy, both
for the shared parameters, these follow a g1 + (1 - a) g2; all others follow the
cross entropy.
"""

from collections.abc import Callable, Mapping
import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.tasks import base
from vidx.tasks.classification import Classification

MODES = ("mgda", "constant", "scheduler", "separate")


def min_norm_alpha(g1: Any, g2: Any) -> jax.Array:
  """The a in [0, 1] for which a g1 + (1 - a) g2 is shortest (eq. 3.18); fp32.

  Args:
    g1: gradient tree.
    g2: gradient tree of the same shapes.
  """
  fp32 = lambda tree: [x.astype(jnp.float32) for x in jax.tree.leaves(tree)]
  pairs = list(zip(fp32(g1), fp32(g2)))
  above = sum(jnp.sum((b - a) * b) for a, b in pairs)
  below = sum(jnp.sum((a - b) ** 2) for a, b in pairs)
  return jnp.clip(above / jnp.maximum(below, 1e-30), 0, 1)


def scheduled_alpha(step: jax.Array, total: int, gamma: float, lam: float) -> jax.Array:
  """The scale scheduler (eq. 3.19), made continuous: 1 at step 1, `lam` at gamma * total, 0 at the end.

  Args:
    step: m, counted from 1.
    total: M.
    gamma: share of the steps after which the second branch begins, in (0, 1).
    lam: where the branches meet, in (0, 1].
  """
  log = lambda m: jnp.log(jnp.maximum(jnp.asarray(m, jnp.float32), 1.0))
  knee, rest = gamma * total, (1 - gamma) * total
  early = 0.5 * (1 + jnp.cos(math.acos(2 * lam - 1) * log(step) / jnp.maximum(log(knee), 1e-6)))
  late = 0.5 * lam * (1 + jnp.cos(jnp.pi * jnp.minimum(log(step - knee) / jnp.maximum(log(rest), 1e-6), 1)))
  return jnp.where(step < knee, early, late)


@dataclasses.dataclass(frozen=True)
class Joint(Classification):
  """Cross entropy on all parameters, and a loss that the system puts out on some of them.

  Attributes:
    mode: how much the first objective counts: 'mgda', the shortest combination of both
      gradients; 'constant'; 'scheduler', falling over the run; 'separate', it alone (a
      first run with `optimizer.frozen=("^trunk/",)`, then one from it that freezes the
      shared parameters).
    alpha: of 'constant'.
    gamma: of 'scheduler'; see scheduled_alpha.
    lam: of 'scheduler'.
    auxiliary: name of the loss in the outputs of the system.
    shared: pattern of the parameters that both objectives train.
    scale_others: the other parameters follow (1 - a) times their gradient, as
      eq. 3.15 has it word for word; otherwise their rate does not depend on a.
  """

  mode: str = "mgda"
  alpha: float = 0.5
  gamma: float = 0.1
  lam: float = 0.1
  auxiliary: str = "enopr"
  shared: str = "^projection/"
  scale_others: bool = False

  def __post_init__(self):
    super().__post_init__()
    errors.check_choice("task.mode", self.mode, MODES)
    for name, allowed in (("alpha", 0 <= self.alpha <= 1), ("gamma", 0 < self.gamma < 1), ("lam", 0 < self.lam <= 1)):
      if not allowed:
        raise errors.ConfigError(f"task.{name}={getattr(self, name)} is not between 0 and 1.")

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    """The auxiliary loss, of all examples, for the shared parameters, and the cross entropy for all."""
    return (base.Objective(self.auxiliary, self._energy, self.shared, labelled=False),
            base.Objective("cross_entropy", self._entropy))

  @property
  def scattered(self) -> tuple[tuple[str, str], ...]:
    """Both losses (figure 3.13)."""
    return ((self.auxiliary, "cross_entropy"),)

  @property
  def schedules(self) -> Mapping[str, tuple[str, Callable[[int], np.ndarray]]]:
    """The scale (figure 3.12), where it is scheduled."""
    if self.mode != "scheduler":
      return {}
    scale = lambda total: np.asarray(scheduled_alpha(jnp.arange(1, total + 1), total, self.gamma, self.lam))
    return {"alpha": (f"gamma {self.gamma:g}, lambda {self.lam:g}", scale)}

  def _energy(self, outputs, batch):
    if self.auxiliary not in outputs.get("losses", {}):
      raise errors.ConfigError(f"task 'joint' needs a system that puts out the loss '{self.auxiliary}', such as dan.")
    del batch
    value = outputs["losses"][self.auxiliary]
    return value, {self.auxiliary: value}

  def _entropy(self, outputs, batch):
    return self.loss({k: v for k, v in outputs.items() if k != "losses"}, batch)

  def combine(self, grads: list[Any], step: jax.Array, total_steps: int) -> tuple[Any, dict[str, jax.Array]]:
    """The gradient of every parameter, and {'alpha': a}."""
    first, second = grads
    if self.mode == "mgda":
      alpha = min_norm_alpha(self._shared(first), self._shared(second))
    elif self.mode == "scheduler":
      alpha = scheduled_alpha(step + 1, total_steps, self.gamma, self.lam)
    else:
      alpha = jnp.asarray(1.0 if self.mode == "separate" else self.alpha, jnp.float32)
    others = 1 - alpha if self.scale_others else 1.0
    mix = lambda path, a, b: alpha * a + (1 - alpha) * b if self._is_shared(path) else others * b
    return jax.tree_util.tree_map_with_path(mix, first, second), {"alpha": alpha}

  def _is_shared(self, path) -> bool:
    return bool(re.search(self.shared, jax.tree_util.keystr(path, simple=True, separator="/")))

  def _shared(self, grads):
    found = [x for path, x in jax.tree_util.tree_leaves_with_path(grads) if self._is_shared(path)]
    if not found:
      raise errors.ConfigError(f"task.shared='{self.shared}' matches no parameter.")
    return found
