"""A residual network on log-mel spectrograms: the audio pathway of AVSlowFast, and a network of sound alone.

Xiao, Lee, Grauman, Malik, Feichtenhofer: "Audiovisual SlowFast Networks for Video
Recognition", 2020, table 1. A spectrogram (B, T, F, 1) is an image of time x frequency
to it, one frame (B, 1, T, F, C). Its first stages see time and frequency by kernels of
their own. Steps and sites are those of a ResNet.
"""

from collections.abc import Sequence

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones.chain import Chain
from vidx.backbones.resnet import BLOCK_SITES, Block, Shape, StageEnd
from vidx.nn import choices, pool, sites as sites_lib
from vidx.nn.conv import Conv
from vidx.nn.norm import BatchNorm, ConvNormAct

FORMS = ("tf_v1", "tf_v2", "plain")
TIME, FREQUENCY = (3, 1), (1, 3)


class Stem(nn.Module):
  """Nine positions along time and nine along frequency, summed, normalised; no stride and no pooling."""

  features: int
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    conv = lambda kernel, name: Conv(self.features, kernel, dtype=self.dtype, name=name)(x)
    y = conv((9, 1), "conv_t") + conv((1, 9), "conv_f")
    y = nn.relu(BatchNorm(**dict(self.norm), dtype=self.dtype, name="norm")(y, train, mask))
    y = pool.live_frames(y, mask)
    return sites_lib.at(self.sites, "stem", "at_stem")(y, mask, train)


class TimeFrequencyBlock(nn.Module):
  """A residual block with a convolution along time and one along frequency side by side.

  'tf_v1': both from what enters the block, strided, side by side in channels, then 1x1.
  'tf_v2', as the table prints it: 1x1, both, strided, summed, then 1x1.
  """

  shape: Shape
  form: str
  norm: tuple[tuple[str, object], ...]
  sites: sites_lib.Placed
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    s = self.shape
    site = sites_lib.within(s.name, self.sites)
    strides = (s.stride, s.stride)

    def unit(x, features, kernel, name, strides=(1, 1), act=nn.relu, norm=self.norm):
      return ConvNormAct(features, kernel, strides, act=act, norm=norm, dtype=self.dtype, name=name)(x, train, mask)

    x, mask = site("in")(x, mask, train)
    y, mask = site("branch")(x, mask, train)
    if self.form == "tf_v2":
      y = unit(y, s.inner, (1, 1), "conv1")
    along = [unit(y, s.inner, kernel, name, strides) for kernel, name in ((TIME, "conv_t"), (FREQUENCY, "conv_f"))]
    y = jnp.concatenate(along, -1) if self.form == "tf_v1" else along[0] + along[1]
    last = (*self.norm, ("scale_init", 0.0)) if s.zero_init else self.norm
    y, mask = site("residual")(unit(y, s.out, (1, 1), "out", act=None, norm=last), mask, train)
    if x.shape[-1] != s.out or s.stride > 1:
      x = unit(x, s.out, (1, 1), "shortcut", strides, act=None)
    return site("out")(nn.relu(x + y), mask, train)


class AudioNet(Chain):
  """A residual network of bottlenecks on spectrograms (B, T, F, 1); see Chain and Trunk for shared fields.

  Attributes:
    stages: blocks per stage.
    width: channels of the stem; those of the first stage's inner convolutions.
    audio_block: form of the blocks of the first stages, 'tf_v1', 'tf_v2' or 'plain', a bottleneck.
    tf_stages: how many stages have them.
    strides: in time and frequency, per stage.
    zero_init: residual branches start as nothing.
  """

  num_classes: int = 400
  stages: Sequence[int] = (3, 4, 6, 3)
  width: int = 32
  audio_block: str = "tf_v1"
  tf_stages: int = 2
  strides: Sequence[int] = (1, 2, 2, 2)
  zero_init: bool = True
  dropout: float = 0.5
  consensus: bool = False

  inputs = ("audio", "audio_valid")

  def __post_init__(self):
    choices.check("audio_block", self.audio_block, FORMS)
    if len(self.strides) < len(self.stages):
      raise ValueError(f"{len(self.stages)} stages, but strides names {len(self.strides)}")
    super().__post_init__()

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = ["stem"]
    for i, blocks in enumerate(self.stages):
      names += [f"res{i + 2}.{j}.{part}" for j in range(blocks) for part in BLOCK_SITES]
      names.append(f"res{i + 2}")
    return tuple(names)

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, rest = self.norms()
    steps = [("stem", Stem(self.width, first, self.placed, self.dtype, name="stem"))]
    for i, blocks in enumerate(self.stages):
      stage = f"res{i + 2}"
      steps += [(f"{stage}.{j}", self._block(i, j, rest)) for j in range(blocks)]
      steps.append((stage, StageEnd(stage, 1, self.placed, name=stage)))
    self._steps = steps
    self.head = self.pooled_head()

  def _block(self, stage, block, norm):
    width = self.width * 2**stage
    shape = Shape(name=f"res{stage + 2}.{block}", kind="bottleneck", inner=width, out=4 * width, temporal=1,
                  temporal_at="b", stride=self.strides[stage] if block == 0 else 1, time_stride=1, stride_at="b",
                  dilation=1, groups=1, dims=2, split="", shortcut="B", zero_init=self.zero_init, thin="every",
                  order="post")
    name = f"res{stage + 2}_{block}"
    if stage < self.tf_stages and self.audio_block != "plain":
      return TimeFrequencyBlock(shape, self.audio_block, norm, self.placed, self.dtype, name=name)
    return Block(shape, norm, self.placed, self.dtype, name=name)

  def enter(self, audio, valid=None, train=False):
    """See Trunk.enter: a spectrogram as one frame, which is dead where `valid` (B,) is not above 0."""
    return [(audio[:, None], None if valid is None else (valid > 0).astype(jnp.float32)[:, None])]

  def __call__(self, audio: jax.Array, audio_valid: jax.Array | None = None, train: bool = False
               ) -> dict[str, jax.Array]:
    """Scores spectrograms.

    Args:
      audio: (B, T, F, 1), normalised.
      audio_valid: (B,), above 0 where there is sound; others are zeros throughout and take no part in batch
        statistics. None: all have some.
      train: batch statistics of this batch, dropout.

    Returns:
      {'logits': (B, num_classes), 'features': (B, C)}, fp32.
    """
    return self.leave(self.walk(self.enter(audio, audio_valid, train), train), train)
