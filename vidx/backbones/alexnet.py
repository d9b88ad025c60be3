"""AlexNet in its one-column form: five convolutions, of which three end in pooling, and three dense layers.

Krizhevsky: "One weird trick for parallelizing convolutional neural networks", 2014.

Steps and sites: `conv1`, `pool1`, `conv2`, `pool2`, `conv3`, `conv4`, `conv5`, `pool5`. The
last hidden layer, fc7, is the `features` of the outputs.
"""

from collections.abc import Sequence

from flax import linen as nn

from vidx.backbones.chain import Chain
from vidx.backbones.inception_resnet import Pool
from vidx.backbones.vgg import ConvReLU, DenseHead
from vidx.nn import sites as sites_lib

#: Side of the kernel, stride, padding, and whether pooling follows.
CONVOLUTIONS = ((11, 4, 2, True), (5, 1, 2, True), (3, 1, 1, False), (3, 1, 1, False), (3, 1, 1, True))


class AlexNet(Chain):
  """AlexNet on frames; see Chain for the fields that trunks share (there is no batch normalisation).

  Attributes:
    widths: channels of the five convolutions.
    hidden: widths of the dense layers.
    grid: image side to which features are averaged before them.
  """

  widths: Sequence[int] = (64, 192, 384, 256, 256)
  hidden: Sequence[int] = (4096, 4096)
  grid: int = 6
  dropout: float = 0.5

  def __post_init__(self):
    if len(self.widths) != len(CONVOLUTIONS):
      raise ValueError(f"widths = {tuple(self.widths)} should be {len(CONVOLUTIONS)} numbers of channels")
    super().__post_init__()

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    names = []
    for i, (*_, pooled) in enumerate(CONVOLUTIONS, start=1):
      names += [f"conv{i}"] + [f"pool{i}"] * pooled
    return tuple(names)

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    steps = []
    for i, (width, (side, stride, padding, pooled)) in enumerate(zip(self.widths, CONVOLUTIONS), start=1):
      steps.append((f"conv{i}", ConvReLU(f"conv{i}", width, (side, side), self.placed, self.dtype, stride, padding,
                                         name=f"conv{i}")))
      if pooled:
        steps.append((f"pool{i}", Pool(f"pool{i}", self.placed, name=f"pool{i}")))
    self._steps = steps
    self.head = DenseHead(self.num_classes, self.hidden, self.dropout, self.head_std, self.grid, True, self.dtype,
                          drop_first=True)
