"""Live entries in front: how whatever drops frames or tokens hands on what is left."""

import jax
import jax.numpy as jnp


def live_first(live: jax.Array) -> tuple[jax.Array, jax.Array]:
  """An order that puts live entries in front and keeps the order among them.

  Args:
    live: (..., N) bool.

  Returns:
    rows: (..., N) int32, indices into the N entries.
    mask: (..., N) bool, live entries after the reordering: the first of them.
  """
  rows = jnp.argsort(~live, axis=-1, stable=True).astype(jnp.int32)
  return rows, jnp.arange(live.shape[-1]) < live.sum(-1, keepdims=True)


def length(live: jax.Array) -> jax.Array:
  """How many entries hold all live ones, dead ones in front of the last included: (..., N) bool -> (...) int32."""
  return jnp.where(live, jnp.arange(1, live.shape[-1] + 1, dtype=jnp.int32), 0).max(-1, initial=0)


def take(x: jax.Array, rows: jax.Array, axis: int = 1) -> jax.Array:
  """Entries of x along an axis, for rows (..., M) whose leading axes are those of x before `axis`.

  Args:
    x: (B, ..., N, ...), N at `axis`.
    rows: (B, ..., M), of as many axes as `axis` + 1.
    axis: along which entries are taken.

  Returns:
    x with M entries along `axis`.
  """
  return jnp.take_along_axis(x, rows.reshape(*rows.shape, *(1,) * (x.ndim - rows.ndim)), axis)
