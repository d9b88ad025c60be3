"""Classes in categories: heads put side by side, losses by category, and output biases that know how rare a class is.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, sections 5.3.1 and 5.3.2.
"""

from collections.abc import Mapping, Sequence
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx.tasks.base import LABEL

Categories = Sequence[tuple[str, Sequence[int]]]


def side_by_side(logits: jax.Array | Mapping[str, jax.Array], categories: Categories) -> jax.Array:
  """Logits (B, C) in fp32: as they are, or of heads {category: (B, n)} in the columns of their classes."""
  if not isinstance(logits, Mapping):
    return logits.astype(jnp.float32)
  place = np.argsort(np.concatenate([ids for _, ids in categories]))
  return jnp.concatenate([logits[name].astype(jnp.float32) for name, _ in categories], -1)[:, place]


def has_tag(target: jax.Array, categories: Categories) -> jax.Array:
  """(B, K): 1 where an example has any class of a category; target (B, C)."""
  return jnp.stack([(target[:, np.asarray(ids)] > 0).any(-1) for _, ids in categories], -1).astype(jnp.float32)


def cross_entropy(logits: jax.Array, target: jax.Array, reduction: str = "mean", categories: Categories = (),
                  by_category: bool = False, weights: Mapping[str, float] | None = None, mask: bool = False
                  ) -> dict[str, jax.Array]:
  """Binary cross entropy of each example as terms (B,) of a sum.

  L = mean over all classes, or with `by_category` sum_k w_k (mean over the n_k
  classes of category k), a term per category.

  Args:
    logits: (B, C) fp32.
    target: (B, C) of zeros and ones.
    reduction: 'mean' or 'sum' over classes.
    categories: class ids by name.
    by_category: see above.
    weights: w_k by name, 1 where not named.
    mask: categories of which an example has no class do not count for it: they may not
      have been annotated.
  """
  each = optax.sigmoid_binary_cross_entropy(logits, target)
  reduce = jnp.mean if reduction == "mean" else jnp.sum
  known = has_tag(target, categories) if mask else None
  if by_category:
    terms = {}
    for k, (name, ids) in enumerate(categories):
      term = (weights or {}).get(name, 1.0) * reduce(each[:, np.asarray(ids)], axis=-1)
      terms[f"binary_cross_entropy/{name}"] = term if known is None else known[:, k] * term
    return terms
  if known is not None:
    kind = np.zeros(each.shape[-1], np.int32)
    for k, (_, ids) in enumerate(categories):
      kind[np.asarray(ids)] = k
    counts = known[:, kind]
    each = each * counts
    if reduction == "mean":
      return {"binary_cross_entropy": each.sum(-1) / jnp.maximum(counts.sum(-1), 1)}
  return {"binary_cross_entropy": reduce(each, axis=-1)}


def prior_bias(labels: Sequence[Sequence[int]], classes: int) -> np.ndarray:
  """log(p / (1 - p)) of every class, (C,) fp32, p its frequency with half a video more of each kind.

  Args:
    labels: class ids of each labelled video.
    classes: C.
  """
  count = np.bincount(np.concatenate([np.asarray(l, np.int64) for l in labels] or [[]]).astype(np.int64),
                      minlength=classes)
  return np.log((count + 0.5) / (len(labels) - count + 0.5)).astype(np.float32)


def with_bias(params: Any, bias: np.ndarray, categories: Categories) -> Any:
  """Parameters whose head starts with these biases; unchanged where it has no layer of that size.

  Args:
    params: of a model with a `head/fc`, or of several heads `head/NAME/out/fc` or `head_NAME/fc`.
    bias: (C,); where the layer is wider, the further classes start as the rarest does.
    categories: class ids by name of the head; without any, that of the target 'label' has all.
  """
  own = {name: bias[np.asarray(ids)] for name, ids in categories} or {LABEL: bias}

  def start(path, leaf):
    names = re.sub(r"\bhead_", "head/", jax.tree_util.keystr(path, simple=True, separator="/")).split("/")
    if names[-2:] != ["fc", "bias"] or "head" not in names[:-2]:
      return leaf
    of = names[names.index("head") + 1:-2]
    value = bias if not of else own.get(of[0])
    if value is None or leaf.ndim != 1 or len(value) > len(leaf):
      return leaf
    return jnp.asarray(np.pad(value, (0, len(leaf) - len(value)), constant_values=value.min()), jnp.result_type(leaf))

  return jax.tree_util.tree_map_with_path(start, params)
