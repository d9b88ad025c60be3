"""What the tree of a sentence asks of the masks of its phrases: a phrase is the union of its parts, which lie apart.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, section 6.2.3.
"""

import jax
import jax.numpy as jnp


def children(parent: jax.Array, valid: jax.Array) -> jax.Array:
  """bool (B, N, N): whether the second phrase is a child of the first.

  Args:
    parent: int32 (B, N), the place of each phrase's parent, -1 of a root.
    valid: (B, N), true of phrases, false of padding.
  """
  places = jnp.arange(parent.shape[1])
  return (parent[:, None] == places[:, None]) & valid[:, None] & valid[:, :, None]


def largest_child(masks: jax.Array, child: jax.Array) -> jax.Array:
  """(B, N, H, W): the largest value of the children's masks at each place; 0 of a phrase without a child.

  Args:
    masks: (B, N, H, W), not negative.
    child: bool (B, N, N), see `children`.
  """
  largest = jnp.where(child[..., None, None], masks[:, None], 0).max(2)
  return jnp.where(child.any(-1)[..., None, None], largest, 0)


def parent_child(masks: jax.Array, parent: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
  """How far the mask of each parent is from the union of its children's (Thesis, eq. 6.2, without 1 / |P|).

  Args:
    masks: (B, N, H, W) in 0..1.
    parent: int32 (B, N), -1 of a root.
    valid: (B, N), true of phrases.

  Returns:
    fp32 (B,): the sum over the parents k of an example of ||A_k - max_l A_l||^2, l its children; and
    fp32 (B,): how many parents it has.
  """
  masks = masks.astype(jnp.float32)
  child = children(parent, valid)
  has = child.any(-1).astype(jnp.float32)
  apart = jnp.square(masks - largest_child(masks, child)).sum((-2, -1))
  return (has * apart).sum(-1), has.sum(-1)


def siblings(masks: jax.Array, parent: jax.Array, valid: jax.Array, eps: float = 1e-6, stop_weight: bool = False
             ) -> tuple[jax.Array, jax.Array]:
  """How much the masks of siblings overlap (Thesis, eq. 6.3, without 1 / |S|).

  Of siblings A_n a place costs -W log(max_n A_n / sum_n A_n), W the mean of the A_n: nothing
  where one of them has it alone, W log n where they are equal.

  Args:
    masks: (B, N, H, W) in 0..1.
    parent: int32 (B, N), -1 of a root, of which there are no siblings.
    valid: (B, N), true of phrases.
    eps: added to both sides of the ratio, so that empty masks cost nothing and have a finite gradient.
    stop_weight: whether no gradient goes through W.

  Returns:
    fp32 (B,): the sum over sets of two or more siblings and over places, not negative; and
    fp32 (B,): how many such sets an example has.
  """
  masks = masks.astype(jnp.float32)
  child = children(parent, valid)
  count = child.sum(-1)
  several = (count > 1).astype(jnp.float32)
  total = jnp.where(child[..., None, None], masks[:, None], 0).sum(2)
  weight = total / jnp.maximum(count, 1)[..., None, None]
  if stop_weight:
    weight = jax.lax.stop_gradient(weight)
  cost = -weight * jnp.log((largest_child(masks, child) + eps) / (total + eps))
  return (several * cost.sum((-2, -1))).sum(-1), several.sum(-1)
