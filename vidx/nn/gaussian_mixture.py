"""Gaussian mixtures of colours by expectation maximisation, with full covariances.

Rother, Kolmogorov and Blake: "GrabCut", 2004, has one of the foreground and one of the
background; Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and
Natural Language", 2020, section 2.2.3, takes five components of each.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_LLOYD = 4  # rounds of k-means before the first expectation


class Mixture(NamedTuple):
  """A mixture of K components in C dimensions.

  Attributes:
    log_weight: fp32 (K,); -inf of a component that nothing belongs to.
    mean: fp32 (K, C).
    covariance: fp32 (K, C, C).
  """

  log_weight: jax.Array
  mean: jax.Array
  covariance: jax.Array


def fit_mixture(x: jax.Array, weight: jax.Array, key: jax.Array, components: int = 5, steps: int = 10,
                floor: float = 1e-3) -> Mixture:
  """Components of the points, from starts that k-means++ draws; made for `jax.vmap`.

  Args:
    x: (N, C), such as RGB in 0..1.
    weight: (N,), not negative; 0 for what is no point. Without any weight the mixture is one unit Gaussian around 0.
    key: of the starts.
    components: K; may be above the number of points.
    steps: of expectation maximisation.
    floor: added to the diagonals of covariances, which do not collapse where all points are equal.
  """
  x, weight = (jnp.asarray(v, jnp.float32) for v in (x, weight))
  size = x.shape[1]

  def draw(nearest, key):
    row = jax.random.categorical(key, jnp.log(jnp.maximum(weight * nearest, 0) + 1e-30))
    centre = x[row]
    return jnp.minimum(nearest, ((x - centre) ** 2).sum(1)), centre

  _, mean = jax.lax.scan(draw, jnp.ones(len(x)), jax.random.split(key, components))

  def nearest_to(mean):
    return jax.nn.one_hot(((x[:, None] - mean) ** 2).sum(-1).argmin(1), components)

  def lloyd(_, mean):
    share = nearest_to(mean) * weight[:, None]
    mass = share.sum(0)[:, None]
    return jnp.where(mass > 0, share.T @ x / jnp.maximum(mass, 1e-12), mean)

  mean = jax.lax.fori_loop(0, _LLOYD, lloyd, mean)

  def maximise(share):
    share = share * weight[:, None]
    mass = share.sum(0)
    safe = jnp.maximum(mass, 1e-12)
    mean = share.T @ x / safe[:, None]
    off = x[:, None] - mean
    covariance = jnp.einsum("nk,nki,nkj->kij", share, off, off) / safe[:, None, None] + floor * jnp.eye(size)
    some = (mass > 0)[:, None]
    return Mixture(jnp.log(mass / jnp.maximum(mass.sum(), 1e-12)), jnp.where(some, mean, 0),
                   jnp.where(some[..., None], covariance, jnp.eye(size)))

  def step(_, mixture):
    return maximise(jax.nn.softmax(_joint(mixture, x), -1))

  first = maximise(nearest_to(mean))
  first = first._replace(log_weight=jnp.where(weight.sum() > 0, first.log_weight,
                                              jnp.where(jnp.arange(components) == 0, 0.0, -jnp.inf)))
  found = jax.lax.fori_loop(0, steps, step, first)
  return jax.tree.map(lambda a, b: jnp.where(weight.sum() > 0, a, b), found, first)


def log_likelihood(mixture: Mixture, x: jax.Array) -> jax.Array:
  """log p, fp32 (...), of points (..., C)."""
  flat = _joint(mixture, x.reshape(-1, x.shape[-1]).astype(jnp.float32))
  return jax.nn.logsumexp(flat, -1).reshape(x.shape[:-1])


def _joint(mixture, x):
  """log of weight and density, (N, K)."""
  factor = _factor(mixture.covariance)
  unit = []  # the rows of factor^-1 (x - mean), (N, K) each
  for i, row in enumerate(factor):
    off = x[:, None, i] - mixture.mean[:, i]
    unit.append((off - sum(a * b for a, b in zip(row, unit))) / row[i])
  half = sum(jnp.log(row[i]) for i, row in enumerate(factor)) + 0.5 * x.shape[1] * jnp.log(2 * jnp.pi)
  return mixture.log_weight - half - 0.5 * sum(u ** 2 for u in unit)


def _factor(matrix):
  """The rows of the Cholesky factors of (K, C, C) for a few C, row i with its i + 1 entries (K,).

  Written out: a library's routine for many small matrices waits for other threads of the pool that it runs in, and
  two of them at once, for what is inside and what is around, wait for ever where the pool has two threads.
  """
  rows = []
  for i in range(matrix.shape[-1]):
    row = []
    for j in range(i + 1):
      before = rows[j] if j < i else row
      rest = matrix[:, i, j] - sum(row[k] * before[k] for k in range(j))
      row.append(jnp.sqrt(rest) if i == j else rest / rows[j][j])
    rows.append(row)
  return rows
