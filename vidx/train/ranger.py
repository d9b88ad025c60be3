"""Ranger: rectified Adam, and a look ahead every few steps.

Liu et al.: "On the Variance of the Adaptive Learning Rate and Beyond", 2020; Zhang et
al.: "Lookahead Optimizer: k steps forward, 1 step back", 2019; Wright: "Ranger", 2019,
as used by Gabeur et al.: "Multi-modal Transformer for Video Retrieval", 2020. The slow
weights are part of the optimiser's state and parameters move onto them, so that
parameters stay one tree; `optax.lookahead` makes them a pair.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class RectifiedState(NamedTuple):
  count: jax.Array
  mu: Any
  nu: Any


def scale_by_rectified(b1: float = 0.95, b2: float = 0.999, eps: float = 1e-5, threshold: float = 5.0
                       ) -> optax.GradientTransformation:
  """Adam whose second moment counts only once enough steps are known; until then momentum alone.

  With N_t the length of the simple moving average that the second moment stands for, the
  update is r_t m_t / (sqrt(v_t) + eps) / (1 - b1^t) where N_t > threshold, and
  m_t / (1 - b1^t) before. Unlike `optax.scale_by_radam`, eps is added to the moment as it
  is, before its bias is taken out.

  Args:
    b1: share of the first moment that is kept.
    b2: share of the second moment that is kept.
    eps: added to the root of the second moment.
    threshold: of N_t.
  """
  longest = 2 / (1 - b2) - 1

  def init(params):
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)
    return RectifiedState(jnp.zeros((), jnp.int32), zeros(), zeros())

  def update(updates, state, params=None):
    del params
    t = state.count + 1
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
    nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, updates)
    left = -jnp.expm1(t * math.log(b2))
    length = average_length(t, b2)
    safe = jnp.maximum(length, threshold)
    rectified = jnp.sqrt(left * (safe - 4) / (longest - 4) * (safe - 2) / safe * longest / (longest - 2))
    unbiased = 1 / (1 - jnp.float32(b1) ** t)
    step = lambda m, v: unbiased * jnp.where(length > threshold, rectified * m / (jnp.sqrt(v) + eps), m)
    return jax.tree.map(step, mu, nu), RectifiedState(t, mu, nu)

  return optax.GradientTransformation(init, update)


def average_length(t: jax.Array, b2: float) -> jax.Array:
  """N_t = N_inf - 2 t b2^t / (1 - b2^t) with N_inf = 2 / (1 - b2) - 1, fp32.

  With x = -t log b2, b2^t / (1 - b2^t) is 1 / (e^x - 1); for small x its first term, which nearly cancels N_inf,
  is taken out in double precision.
  """
  longest, rate = 2 / (1 - b2) - 1, -math.log(b2)
  x = t * rate
  series = -0.5 + x / 12 - x ** 3 / 720 + x ** 5 / 30240
  return jnp.where(x < 0.5, (longest - 2 / rate) - 2 * t * series, longest - 2 * t / jnp.expm1(jnp.maximum(x, 0.5)))


class LookaheadState(NamedTuple):
  count: jax.Array
  slow: Any


def look_ahead(every: int = 6, share: float = 0.5) -> optax.GradientTransformation:
  """At every few steps the slow weights go a share of the way to the parameters, which go back to them.

  Stands last in a chain, where updates are what is added to the parameters.

  Args:
    every: k, steps from one look to the next.
    share: alpha.
  """

  def init(params):
    return LookaheadState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

  def update(updates, state, params):
    count = state.count + 1
    due = count % every == 0
    slow = jax.tree.map(lambda s, p, u: jnp.where(due, s + share * (p + u - s), s), state.slow, params, updates)
    updates = jax.tree.map(lambda u, s, p: jnp.where(due, s - p, u), updates, slow, params)
    return updates, LookaheadState(count, slow)

  return optax.GradientTransformation(init, update)
