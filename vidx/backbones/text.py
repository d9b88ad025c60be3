"""BERT: a transformer over the word pieces of a sentence.

Devlin et al.: "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding", 2019.

Steps: `embed`, `block0`, `block1`, ... Sites: `embed` and, per block, `block0.in`,
`.heads`, `.attn`, `.mlp`, `.out`; tokens (B, N, D).
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import sites as sites_lib
from vidx.nn import transformer
from vidx.nn.attention import Attention


class Embed(nn.Module):
  """Words, positions and segments, summed and normalised."""

  vocab: int
  positions: int
  segments: int
  dim: int
  dropout: float
  eps: float
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, text, mask=None, train=False, segments=None):
    """(B, N) int -> (B, N, D)."""
    if text.shape[1] > self.positions:
      raise ValueError(f"texts of {text.shape[1]} tokens for {self.positions} positions: cut them to that length")
    table = lambda size, name: nn.Embed(size, self.dim, embedding_init=transformer.token_init, name=name)
    segments = jnp.zeros_like(text) if segments is None else segments
    x = table(self.vocab, "words")(text) + table(self.segments, "segments")(segments)
    x = x + table(self.positions, "positions")(jnp.arange(text.shape[1]))
    x = nn.LayerNorm(self.eps, dtype=self.dtype, name="norm")(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return sites_lib.at(self.sites, "embed", "at_embed")(x, mask, train)


class Block(nn.Module):
  """norm(x + attention(x)), then norm(x + mlp(x)); sites as `transformer.Block`."""

  site: str
  heads: int
  hidden: int
  dropout: float
  eps: float
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    """(B, N, D), mask (B, N) -> tokens and mask."""
    at = sites_lib.within(self.site, self.sites)
    norm = functools.partial(nn.LayerNorm, self.eps, dtype=self.dtype)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    between = lambda heads: at("heads")(heads, heads.mask, train)[0]
    x, mask = at("in")(x, mask, train)
    y, heads = Attention(self.heads, dtype=self.dtype, name="attn")(x, mask, between)
    x, y, mask = transformer.kept_rows(x, y, mask, heads)
    y, mask = at("attn")(drop(y), mask, train)
    x = norm(name="norm1")(x + y)
    y = drop(transformer.Mlp(self.hidden, dtype=self.dtype, name="mlp")(x))
    y, mask = at("mlp")(y, mask, train)
    return at("out")(norm(name="norm2")(x + y), mask, train)


class BERT(nn.Module):
  """A text encoder.

  Attributes:
    num_classes: 0 leaves the logits out.
    vocab: word pieces.
    positions: longest text.
    segments: kinds of tokens.
    dim: channels D.
    depth: blocks.
    heads: of attention.
    hidden: width of the MLPs.
    pooler: whether `features` are tanh of a dense layer of the first token, or that token itself.
    dropout: of embeddings, branches, and before the last layer.
    eps: of the norms.
    sites: blocks to plug in; see vidx.nn.sites.
    dtype: compute dtype; None is fp32.
  """

  num_classes: int = 0
  vocab: int = 30522
  positions: int = 512
  segments: int = 2
  dim: int = 768
  depth: int = 12
  heads: int = 12
  hidden: int = 3072
  pooler: bool = True
  dropout: float = 0.1
  eps: float = 1e-12
  sites: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtype: jnp.dtype | None = None

  inputs = ("text",)

  def __post_init__(self):
    self.sites = sites_lib.merge(self.sites)  # hashable
    super().__post_init__()

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    return ("embed", *(f"block{i}.{part}" for i in range(self.depth) for part in transformer.BLOCK_SITES))

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    self._embed = Embed(self.vocab, self.positions, self.segments, self.dim, self.dropout, self.eps, self.sites,
                        self.dtype, name="embed")
    self._blocks = [(f"block{i}", Block(f"block{i}", self.heads, self.hidden, self.dropout, self.eps, self.sites,
                                        self.dtype, name=f"block{i}")) for i in range(self.depth)]
    if self.pooler:
      self._pooler = nn.Dense(self.dim, dtype=self.dtype, kernel_init=transformer.token_init, name="pooler")
    if self.num_classes:
      self._fc = nn.Dense(self.num_classes, kernel_init=transformer.token_init, name="fc")
      self._drop = nn.Dropout(self.dropout)

  def steps(self) -> list[tuple[str, nn.Module]]:
    """(name, module) pairs; each module is called as (x, mask, train) -> (x, mask)."""
    return [("embed", self._embed), *self._blocks]

  def __call__(self, text: jax.Array, train: bool = False, mask: jax.Array | None = None,
               segments: jax.Array | None = None) -> dict[str, jax.Array]:
    """Encodes texts.

    Args:
      text: (B, N) int, word pieces, the first one [CLS].
      train: dropout.
      mask: (B, N), live tokens.
      segments: (B, N) int, the kind of each token; None: all 0.

    Returns:
      {'logits': (B, num_classes), 'features': (B, D), 'tokens': (B, N, D), 'mask': (B, N)}, fp32;
      'logits' where there are classes, 'mask' where one was given.
    """
    mask = None if mask is None else mask.astype(bool)
    x, mask = self._embed(text.astype(jnp.int32), mask, train, segments)
    for _, block in self._blocks:
      x, mask = block(x, mask, train)
    first = jnp.tanh(self._pooler(x[:, 0])) if self.pooler else x[:, 0]
    out = {"features": first.astype(jnp.float32), "tokens": x.astype(jnp.float32)}
    if mask is not None:
      out["mask"] = mask
    if self.num_classes:
      out["logits"] = self._fc(self._drop(out["features"], deterministic=not train))
    return out
