"""What region-based non-local blocks are for: similarity that noise does not break.

vidx claims rnl
"""

import jax
import jax.numpy as jnp

from vidx.measure.claims import Claim
from vidx.nn import RegionNonLocal

SIGMA = 3.0  # of the noise; the prototypes are standard normal


def mass(seed: int, averaged: bool) -> float:
  """Attention on the object, in percent, of a position on it; features are two prototypes plus noise."""
  channels, shape = 32, (32, 4, 16, 16)
  keys = jax.random.split(jax.random.PRNGKey(seed), 2)
  prototypes = jax.random.normal(keys[0], (2, channels))
  inside = jnp.zeros(shape[1:]).at[:, 4:12, 4:12].set(1)[None, ..., None]
  x = inside * prototypes[0] + (1 - inside) * prototypes[1] + SIGMA * jax.random.normal(keys[1], (*shape, channels))
  x = jnp.concatenate([x, jnp.zeros_like(x)], -1)  # the block projects to half of its channels
  block = RegionNonLocal(descriptor="avgpool" if averaged else "identity", scale=0.25, chunk=0)
  variables = jax.jit(block.init)(jax.random.PRNGKey(0), x)
  kernel = jnp.eye(2 * channels, channels)[None, None, None]
  params = {**variables["params"], "g": {"kernel": kernel, "bias": jnp.zeros(channels)}}
  see = jax.jit(lambda v, x: block.apply(v, x, mutable=["maps"])[1]["maps"]["attention"][0])
  attention = see({**variables, "params": params}, x).at[:, 2, 8, 8].set(0)  # others than itself
  on = (attention * inside[..., 0]).sum((1, 2, 3)) / attention.sum((1, 2, 3))
  return 100 * float(on.mean())


def robust_to_noise(seed: int) -> dict[str, float]:
  """Percentages of attention on the object."""
  return {"method": mass(seed, True), "baseline": mass(seed, False)}


def get_claims() -> list[Claim]:
  return [
      Claim("noise", "Compared by regions, a position in noise attends to its own object; compared alone, less.",
            robust_to_noise, margin=20.0),
  ]
