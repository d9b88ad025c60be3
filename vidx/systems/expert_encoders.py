"""How the experts of a video meet before texts are compared with them: the encoders of two systems beside T2VLAD.

Liu et al.: "Use What You Have: Video Retrieval Using Representations From Collaborative
Experts", 2019. Gabeur et al.: "Multi-modal Transformer for Video Retrieval", 2020. An encoder
takes the tokens of N experts, (B, T_n, D_n) each, which of them are live, (B, T_n), and each
expert as one, (B, D_n); it gives (B, N, C) in fp32, rows of unit length, zero where an expert
is missing.
"""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.backbones import text
from vidx.nn import sites
from vidx.nn.embedding import Linear, unit_rows
from vidx.nn.norm import BatchNorm
from vidx.nn.transformer import token_init


def mean_pair(y: jax.Array, both: jax.Array) -> jax.Array:
  """The mean over the partners of each expert: (B, N, N, C), both there (B, N, N) -> fp32 (B, N, C), zero without."""
  total = (y.astype(jnp.float32) * both[..., None]).sum(2)
  return total / jnp.maximum(both.sum(2), 1)[..., None]


class CollaborativeGates(nn.Module):
  """Every expert gates the others: x_n sigmoid(BN(mean_m g(x_n, x_m)) + BN(W x_n + b)), where x are of unit length.

  Pairs are of experts that a video has, an expert with itself included; statistics are over all of them.

  Attributes:
    features: C.
    layers: of the perceptron g, which all pairs share.
    dtype: of the products; lengths and batch statistics are fp32.
  """

  features: int
  layers: int = 3
  dtype: Any = None

  @nn.compact
  def __call__(self, tokens: Sequence[jax.Array], masks: Sequence[jax.Array], wholes: Sequence[jax.Array],
               train: bool = False) -> jax.Array:
    """See the module; experts as one are what meets, in (B, N, N, 2 C) pairs."""
    del tokens
    linear = lambda name: Linear(self.features, self.dtype, name=name)
    live = jnp.stack([m.max(-1) for m in masks], 1).astype(jnp.float32)
    x = jnp.stack([unit_rows(linear(f"project_{i}")(w)) for i, w in enumerate(wholes)], 1)
    both = live[:, :, None] * live[:, None]
    sides = jnp.broadcast_arrays(x[:, :, None], x[:, None])
    y = linear("pair_0")(jnp.concatenate(sides, -1))
    for i in range(1, self.layers):
      y = linear(f"pair_{i}")(jax.nn.mish(BatchNorm(name=f"pair_norm_{i}")(y, train, both)))
    met, out = mean_pair(y, both), []
    for i in range(len(wholes)):
      on = live[:, i]
      gate = BatchNorm(name=f"met_norm_{i}")(met[:, i], train, on)
      gate += BatchNorm(name=f"gate_norm_{i}")(linear(f"gate_{i}")(x[:, i]), train, on)
      out.append(unit_rows(x[:, i] * jax.nn.sigmoid(gate)) * (on[:, None] > 0))
    return jnp.stack(out, 1)


class ExpertTransformer(nn.Module):
  """All tokens of all experts attend to one another; what is read is one more token of each, which begins as its whole.

  A token is its projection of unit length, a row for its expert and one for its place; the
  first token of all is of no expert. Places are numbers, not seconds.

  Attributes:
    features: C.
    depth: blocks, normalised behind their branches.
    heads: of attention.
    hidden: width of the second branch.
    positions: places, 0 that of no token of time; tokens behind the last share it.
    dropout: of embeddings and branches.
    dtype: compute dtype; lengths are fp32.
  """

  features: int
  depth: int = 4
  heads: int = 4
  hidden: int = 3072
  positions: int = 32
  dropout: float = 0.1
  dtype: Any = None

  @nn.compact
  def __call__(self, tokens: Sequence[jax.Array], masks: Sequence[jax.Array], wholes: Sequence[jax.Array],
               train: bool = False) -> jax.Array:
    """See the module; wholes have the widths of tokens."""
    batch = len(tokens[0])
    rows, live = [jnp.zeros((batch, 1, self.features))], [jnp.ones((batch, 1), bool)]
    kinds, places, read = [0], [0], []
    for i, (x, mask, whole) in enumerate(zip(tokens, masks, wholes)):
      project = Linear(self.features, self.dtype, name=f"project_{i}")
      read.append(len(kinds))
      rows += [unit_rows(project(whole))[:, None], unit_rows(project(x))]
      live += [mask.max(-1, keepdims=True) > 0, mask > 0]
      kinds += [i + 1] * (1 + x.shape[1])
      places += [0, *np.minimum(np.arange(x.shape[1]) + 1, self.positions - 1)]
    table = lambda size, name: nn.Embed(size, self.features, embedding_init=token_init, name=name)
    x, live = jnp.concatenate(rows, 1), jnp.concatenate(live, 1)
    x = x + table(1 + len(tokens), "kinds")(np.array(kinds)) + table(self.positions, "places")(np.array(places))
    x = nn.LayerNorm(1e-12, dtype=self.dtype, name="norm")(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    for i in range(self.depth):
      x, _ = text.Block(f"block{i}", self.heads, self.hidden, self.dropout, 1e-12, sites.merge(), self.dtype,
                        name=f"block{i}")(x, live, train)
    read = np.array(read)
    return unit_rows(x[:, read]) * live[:, read, None]
