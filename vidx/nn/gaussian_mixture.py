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
  factor = jnp.linalg.cholesky(mixture.covariance)
  off = x[:, None] - mixture.mean  # (N, K, C)
  unit = jax.scipy.linalg.solve_triangular(factor, jnp.moveaxis(off, 0, -1), lower=True)  # (K, C, N)
  half = jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)).sum(-1) + 0.5 * x.shape[1] * jnp.log(2 * jnp.pi)
  return mixture.log_weight - half - 0.5 * (unit ** 2).sum(1).T
