"""T2VLAD: words and the features of several experts meet at the same centres, and as wholes per expert.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, chapter 6. With
`global_text="vlad"` and without a local part it is the mixture of embedding experts of
Miech et al.: "Learning a Text-Video Embedding from Incomplete and Heterogeneous Data", 2018; with `mixing` besides,
what vidx/systems/expert_encoders.py names.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.nn import choices
from vidx.nn.embedding import GatedEmbedding, Linear, TokenEncoder, unit_rows
from vidx.nn.pool import pool_candidates
from vidx.nn.soft_assign_vlad import SoftAssignVLAD
from vidx.systems.expert_encoders import CollaborativeGates, ExpertTransformer

#: of MSR-VTT, as Gabeur et al. 2020 published them.
EXPERTS = ("ocr", "face", "rgb", "flow", "s3d", "scene", "speech", "audio")
VLADS = ("shared", "separate", "text_only")
AGGREGATIONS = ("max", "mean", "vlad")
GLOBAL_TEXTS = ("vlad", "cls")
NORMS = ("bn", "bias")
MIXERS = {"gates": CollaborativeGates, "transformer": ExpertTransformer}
AGGREGATED = 8  # centres of an expert whose tokens are aggregated by VLAD


class Centres(nn.Module):
  """Rows of unit length gathered at K centres, from words or from video tokens; see `t2vlad` for the fields."""

  centres: int
  ghost: bool
  norm: str
  per_modality: bool
  stop_video: bool
  modalities: tuple[str, ...]

  @nn.compact
  def __call__(self, z: jax.Array, mask: jax.Array | None, train: bool, modality: str) -> jax.Array:
    """(B, N, C), mask (B, N) -> fp32 (B, K, C) (eq. 6.1 to 6.3)."""
    apart = self.per_modality and self.norm == "bn"
    vlad = SoftAssignVLAD(self.centres, self.ghost, own_residual=True, norm=self.norm,
                          modalities=self.modalities if apart else ("",), name="vlad")
    groups, _ = vlad(z.astype(jnp.float32), mask, train, modality=modality if apart else "",
                     stop_centres=self.stop_video and modality == "video")
    return unit_rows(groups)


class T2VLAD(nn.Module):
  """Two encoders, `encode_text` and `encode_video`; see `t2vlad` for the fields.

  In evaluation a video may have several texts, (B, Q, L); so have its outputs then.
  """

  text: nn.Module
  experts: tuple[str, ...]
  dim: int
  centres: int
  ghost: bool
  vlad: str
  use_local: bool
  use_global: bool
  global_text: str
  visual_attention: bool
  temporal_agg: tuple[str, ...]
  assign_norm: str
  bn_per_modality: bool
  stop_grad_video_centers: bool
  mask_padding: bool
  proj_l2: bool
  visual_heads: int
  ffn_dim: int
  visual_dropout: float
  embed: int
  mixer: nn.Module | None
  dtype: Any

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch: the text, then the experts, then which of their tokens are live."""
    return ("text", "text_mask", *(f"expert/{e}" for e in self.experts), *(f"expert_mask/{e}" for e in self.experts))

  @property
  def vocab(self) -> int:
    """Word pieces that the text may have."""
    return self.text.vocab

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the text encoder."""
    return self.text.site_names()

  def setup(self):
    seen = self.use_local and self.vlad != "text_only"
    gathers = self.use_local or self.global_text == "vlad"
    centres = lambda *modalities: Centres(self.centres, self.ghost, self.assign_norm, self.bn_per_modality,
                                          self.stop_grad_video_centers, modalities)
    if gathers:
      shared = seen and self.vlad == "shared"
      self.text_centres = centres("text", "video") if shared else centres("text")
      if seen:
        self.video_centres = self.text_centres if shared else centres("video")
    if self.use_local:
      self.projections = [Linear(self.dim, self.dtype) for _ in self.experts]
      if self.visual_attention:
        self.attention = TokenEncoder(self.visual_heads, self.ffn_dim or self.dim, self.visual_dropout, self.dtype)
      if self.vlad == "text_only":
        self.pooled = Linear(self.centres * self.dim)
    if self.use_global:
      gates = lambda: [GatedEmbedding(self.embed, self.dtype) for _ in self.experts]
      self.text_gates = gates()
      if self.mixer is None:
        self.video_gates = gates()
      self.weights = Linear(len(self.experts))
      self.aggregators = [SoftAssignVLAD(AGGREGATED) if how == "vlad" else None for how in self.temporal_agg]

  def __call__(self, *arrays: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """The arrays of `inputs` -> the embeddings of `encode_text` and `encode_video` as 'text/NAME' and 'video/NAME'."""
    if len(arrays) != len(self.inputs):
      raise ValueError(f"{len(arrays)} arrays, where this network takes {', '.join(self.inputs)}")
    text, mask, count = *arrays[:2], len(self.experts)
    said = self.encode_text(text, mask, train)
    seen = self.encode_video(dict(zip(self.experts, arrays[2:2 + count])),
                             dict(zip(self.experts, arrays[2 + count:])), train)
    return {**{f"text/{k}": v for k, v in said.items()}, **{f"video/{k}": v for k, v in seen.items()}}

  def encode_text(self, text: jax.Array, mask: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Embeds texts.

    Args:
      text: (B, L) word pieces, or (B, Q, L).
      mask: 1 for live ones; a text without any is none.
      train: dropout and batch statistics.

    Returns:
      fp32 'local' (B, K, C), 'global' (B, N, C) and 'weights' (B, N), those that there are; (B, Q, ...) of (B, Q, L).
    """
    lead = text.shape[:-1]
    text, mask = (x.reshape(-1, x.shape[-1]) for x in (text, mask))
    live = mask.max(-1)
    encoded = self.text(text, train, mask)
    gathers = self.use_local or self.global_text == "vlad"
    out, whole = {}, encoded["features"]
    if gathers:
      rows = self.text_centres(encoded["tokens"], mask if self.mask_padding else None, train, "text")
      if self.use_local:
        out["local"] = rows
      if self.global_text == "vlad":
        whole = unit_rows(rows.reshape(len(rows), -1))
    if self.use_global:
      out["global"] = jnp.stack([gate(whole, live, train) for gate in self.text_gates], 1)
      out["weights"] = jax.nn.softmax(self.weights(whole.astype(jnp.float32)))
    return {k: v.reshape(*lead, *v.shape[1:]) for k, v in out.items()}

  def encode_video(self, tokens: Mapping[str, jax.Array], masks: Mapping[str, jax.Array], train: bool = False
                   ) -> dict[str, jax.Array]:
    """Embeds videos.

    Args:
      tokens: (B, T, D) of each expert.
      masks: (B, T), 1 for live tokens; an expert without any is missing.
      train: dropout and batch statistics.

    Returns:
      fp32 'local' (B, K, C), 'global' (B, N, C) and 'available' (B, N), those that there are.
    """
    out = {}
    if self.use_local:
      out["local"] = self._local(tokens, masks, train)
    if self.use_global:
      live = [masks[e].max(-1) for e in self.experts]
      wholes = [self._whole(i, tokens[e], masks[e], train) for i, e in enumerate(self.experts)]
      if self.mixer is None:
        out["global"] = jnp.stack([gate(x, on, train) for gate, x, on in zip(self.video_gates, wholes, live)], 1)
      else:
        in_order = lambda of: [of[e] for e in self.experts]
        out["global"] = self.mixer(in_order(tokens), in_order(masks), wholes, train)
      out["available"] = jnp.stack(live, 1).astype(jnp.float32)
    return out

  def _local(self, tokens, masks, train):
    """Rows of the video at the centres; in the variant 'text_only' those of a dense layer."""
    projected = [project(tokens[e]) for e, project in zip(self.experts, self.projections)]
    z = jnp.concatenate([unit_rows(p) if self.proj_l2 else p for p in projected], 1)
    mask = jnp.concatenate([masks[e] for e in self.experts], 1) if self.mask_padding else None
    if self.visual_attention:
      z = self.attention(z, mask, train)
    if self.vlad == "text_only":
      flat = unit_rows(self.pooled(pool_candidates(z, mask, "max"))) * self.centres ** 0.5
      return flat.reshape(len(flat), self.centres, self.dim)
    return self.video_centres(z, mask, train, "video")

  def _whole(self, i, x, mask, train):
    """The tokens of an expert as one: (B, T, D) -> (B, D), zero where it is missing."""
    if self.temporal_agg[i] != "vlad":
      return pool_candidates(x, mask, self.temporal_agg[i])
    groups, _ = self.aggregators[i](x.astype(jnp.float32), mask, train)
    return unit_rows(unit_rows(groups).reshape(len(x), -1))


def t2vlad(experts: Sequence[str] = EXPERTS, trunk: str = "bert_base", dim: int = 768, centres: int = 9,
           ghost: bool = True, vlad: str = "shared", use_local: bool = True, use_global: bool = True,
           global_text: str = "vlad", visual_attention: bool = True, temporal_agg: str | Mapping[str, str] = "max",
           assign_norm: str = "bn", bn_per_modality: bool = True, stop_grad_video_centers: bool = False,
           mask_padding: bool = True, proj_l2: bool = True, visual_heads: int = 4, ffn_dim: int = 0,
           visual_dropout: float = 0.1, embed: int = 0, mixing: str = "",
           mixing_fields: Mapping[str, Any] | None = None, sites=None, dtype: Any = None, **fields) -> T2VLAD:
  """Text-video retrieval by shared centres.

  Args:
    experts: names of the experts, in the order of their weights.
    trunk: name of a text encoder.
    dim: C, which is also that of the text encoder.
    centres: K, without the background; 9 on MSR-VTT and LSMDC, 16 on ActivityNet.
    ghost: whether there is a background centre (eq. 6.1).
    vlad: "shared" centres; "separate" ones of texts and videos; "text_only", videos by a dense layer (Table 6.5).
    use_local: whether there is a local part (Table 6.4).
    use_global: whether there is a global part.
    global_text: what the global part sees of a text: what was gathered ("vlad"), or the first token ("cls").
    visual_attention: whether video tokens pass a transformer layer (Table 6.6).
    temporal_agg: how the global part joins the tokens of an expert: "max", "mean" or "vlad"; or that by name, "max" of
      experts that are not named.
    assign_norm: of the assignment: "bn", or a "bias" per centre.
    bn_per_modality: whether texts and videos have statistics of their own there.
    stop_grad_video_centers: whether centres learn to assign from texts alone.
    mask_padding: whether padding is left out of attention, statistics and sums.
    proj_l2: whether projected tokens are of unit length.
    visual_heads: of the transformer layer.
    ffn_dim: width of its second branch; 0: C.
    visual_dropout: of it.
    embed: channels of the global part; 0: C.
    mixing: how experts meet in the global part of a video: '' not at all, "gates" (`CollaborativeGates`), or
      "transformer" (`ExpertTransformer`).
    mixing_fields: of that module.
    sites: blocks to plug into the text encoder.
    dtype: compute dtype; assignments, statistics, lengths and scores are fp32.
    **fields: of the text encoder; it has no classes.

  Returns:
    A module of the arrays in its `inputs` -> {'text/local', 'text/global', 'text/weights', 'video/local',
    'video/global', 'video/available'}, see `T2VLAD`.
  """
  by_name = temporal_agg if isinstance(temporal_agg, Mapping) else dict.fromkeys(experts, temporal_agg)
  for field, value, known in (("vlad", vlad, VLADS), ("global_text", global_text, GLOBAL_TEXTS),
                              ("assign_norm", assign_norm, NORMS), ("mixing", mixing, ("", *MIXERS)),
                              *(("temporal_agg", how, AGGREGATIONS) for how in by_name.values()),
                              *(("temporal_agg: expert", name, experts) for name in by_name)):
    choices.check(field, value, known)
  if not experts or len(set(experts)) != len(experts):
    raise ValueError(f"experts {tuple(experts)} are not different names")
  if not (use_local or use_global):
    raise ValueError("neither a local nor a global part")
  if mixing == "transformer" and "vlad" in by_name.values():
    raise ValueError("mixing 'transformer' takes wholes as wide as tokens: temporal_agg 'max' or 'mean'")
  mixer = systems.block("mixing_fields", MIXERS[mixing], embed or dim, dtype=dtype,
                        **(mixing_fields or {})) if mixing else None
  tower = systems.create_model(trunk, **{"pooler": False, "dim": dim, "sites": sites or {}, "dtype": dtype, **fields,
                                           "num_classes": 0})
  return T2VLAD(tower, tuple(experts), dim, centres, ghost, vlad, use_local, use_global, global_text,
                visual_attention, tuple(by_name.get(e, "max") for e in experts), assign_norm, bn_per_modality,
                stop_grad_video_centers, mask_padding, proj_l2, visual_heads, ffn_dim, visual_dropout, embed or dim,
                mixer, dtype)
