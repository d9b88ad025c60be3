"""ATS: vision transformers whose blocks keep as many tokens as an image or a clip needs; and EViT.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, chapter 7. Liang et al.: "Not All Patches are What You Need: Expediting Vision
Transformers via Token Reorganizations", 2022. Nothing is learned in the samplers: a
trunk's weights go in as they are, also converted ones, with or without fine-tuning,
and K may change between training and use.
"""

from collections.abc import Sequence
import functools
from typing import Any

from flax import linen as nn

from vidx import systems
from vidx.nn import sites as sites_lib
from vidx.nn.token_sampling import AdaptiveTokenSampler, TokenReorganization
from vidx.terminal import counted

#: how frames share tokens, by the trunk's attention: keys shifted along time need places that correspond,
#: and attention along time is dense only over the same places.
OVER_FRAMES = {"shift": "union", "divided": "tube"}


def ats(num_classes: int = 1000, trunk: str = "deit_s", stages: Sequence[int] | None = None,
        keep: float | Sequence[float] = 1.0, least: int = 8, score: str = "cls", value_norm: str = "per_head",
        rule: str = "inverse", grid: str = "midpoint", order: str = "index", oversample: bool = False,
        over_frames: str = "", cls_enforced: bool = True, seed: int = 0, fused: Sequence[int] = (),
        fused_keep: float = 0.7, sites=None, dtype: Any = None, **fields) -> nn.Module:
  """A transformer with token samplers inside the attention of some blocks.

  Multi-stage models reach about 3, 2.5 and 2 GFLOPs on average with keep = 1.0, 0.87
  and 0.72, models with a sampler in block 3 alone with keep = 108, 78 and 48; a share
  of 0.865 with rule = 'topk' is the fixed-rate control. score = 'uniform' or
  'random', the latter with rule = 'topk', keep evenly spread or random tokens.

  Args:
    num_classes: classes.
    trunk: name of a ViT, DeiT, CvT, PS-ViT, XViT or TimeSformer; a CvT's last stage
      does without convolutions, as its tokens are no grid any more.
    stages: numbers of the blocks that sample (in a CvT of the last stage, in a PS-ViT
      behind the progressive sampling); None: the published ones that the trunk has.
    keep: K, the CLS not counted, or as a float the share of the input tokens; of all
      stages or one for each.
    least: see AdaptiveTokenSampler; so are the fields up to `seed`.
    score: what makes a token significant.
    value_norm: how the values' norms enter.
    rule: how tokens are taken by their scores.
    grid: at which levels.
    order: in which scores are cumulated.
    oversample: K samples also of fewer tokens.
    over_frames: '' for what suits the trunk's attention: OVER_FRAMES, else 'apart'.
    cls_enforced: whether the CLS always stays.
    seed: of what is random.
    fused: numbers of the blocks that keep a share and fuse the rest (EViT).
    fused_keep: that share.
    sites: further blocks to plug in, behind these.
    dtype: compute dtype.
    **fields: of the trunk.

  Returns:
    A module (B, H, W, 3) or (B, T, H, W, 3) -> {'logits', 'features'}.
  """
  if trunk.startswith("cvt") and "convolved" not in fields:
    fields["convolved"] = (*(True for _ in fields.get("depths", (1, 2, 10))[1:]), False)
  make = functools.partial(systems.create_model, trunk, num_classes=num_classes, dtype=dtype, **fields)
  plain = make()
  blocks = block_sites(plain.site_names())
  if stages is None:
    stages = [i for i in published_stages(trunk, getattr(plain, "attention", "")) if i < len(blocks) and i not in fused]
  missing = [i for i in (*stages, *fused) if not 0 <= i < len(blocks)]
  if missing or not (*stages, *fused):
    raise ValueError(f"{f'there is no block {missing[0]}' if missing else 'no block samples'}: name some of the"
                     f" {len(blocks)} blocks of {trunk}, 0 to {len(blocks) - 1}, in 'stages'")
  if len({*stages, *fused}) < len(stages) + len(fused):
    raise ValueError(f"a block is named twice in stages = {tuple(stages)} and fused = {tuple(fused)}")
  shares = (keep,) * len(stages) if isinstance(keep, (int, float)) else tuple(keep)
  if len(shares) != len(stages):
    raise ValueError(f"{len(shares)} values of keep for {counted(len(stages), 'stage')}: give one, or one for each")
  over_frames = over_frames or OVER_FRAMES.get(getattr(plain, "attention", ""), "apart")
  sampler = functools.partial(
      AdaptiveTokenSampler, least=least, score=score, value_norm=value_norm, rule=rule, grid=grid, order=order,
      oversample=oversample, over_frames=over_frames, cls_enforced=cls_enforced, seed=seed)
  plugged = {blocks[i]: functools.partial(sampler, keep=share) for i, share in zip(stages, shares)}
  plugged |= {blocks[i]: functools.partial(TokenReorganization, fused_keep) for i in fused}
  for factory in plugged.values():
    factory()  # a wrong field is an error here
  return make(sites=sites_lib.merge(plugged, sites or {}))


def block_sites(names: Sequence[str]) -> list[str]:
  """The sites of queries, keys and values of a trunk's blocks with a CLS, in order: of a CvT, of the last stage."""
  heads = [name for name in names if name.startswith("block") and name.endswith(".heads")]
  last = max((name.split(".")[0] for name in heads if name.count(".") == 2), default="")
  return [name for name in heads if name.startswith(f"{last}.")] if last else heads


def published_stages(trunk: str, attention: str) -> range:
  """The blocks that sample (section 7.3.4), counted from 0."""
  if trunk.startswith("cvt"):
    return range(9)
  if trunk.startswith("psvit"):
    return range(1, 10)
  return range(3, 6) if attention == "divided" else range(3, 12)
