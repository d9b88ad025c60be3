"""Inception-V3, in the form by which generated images are judged and in that of torchvision.

Szegedy et al.: "Rethinking the Inception Architecture for Computer Vision", 2016. The
network of the Frechet inception distance (Heusel et al. 2017) has 1008 classes,
counts nothing outside of the image in its average pools, and takes maxima in the last block.

Steps and sites: `conv1a`, `conv2a`, `conv2b`, `pool3a`, `conv3b`, `conv4a`, `stem` (the
second pooling), `mixed5b`, `mixed5c`, `mixed5d`, `mixed6a`, ..., `mixed6e`, `mixed7a`,
`mixed7b`, `mixed7c`. The mean of the last, of 2048 channels, is the `features`.
"""

from flax import linen as nn

from vidx.backbones.chain import Chain, ConvStep
from vidx.backbones.inception_resnet import STEM, Mixed, Pool
from vidx.nn import choices, sites as sites_lib

FORMS = ("fid", "torchvision")


def _first(pooled):
  return (((64, (1, 1), 1),), ((48, (1, 1), 1), (64, (5, 5), 1)),
          ((64, (1, 1), 1), (96, (3, 3), 1), (96, (3, 3), 1)), ("average", (pooled, (1, 1), 1)))


def _second(inner):
  return (((192, (1, 1), 1),), ((inner, (1, 1), 1), (inner, (1, 7), 1), (192, (7, 1), 1)),
          ((inner, (1, 1), 1), (inner, (7, 1), 1), (inner, (1, 7), 1), (inner, (7, 1), 1), (192, (1, 7), 1)),
          ("average", (192, (1, 1), 1)))


def _third(pooling):
  both = ((384, (1, 3), 1), (384, (3, 1), 1))
  return (((320, (1, 1), 1),), ((384, (1, 1), 1), both), ((448, (1, 1), 1), (384, (3, 3), 1), both),
          (pooling, (192, (1, 1), 1)))


#: Per step the branches, as in vidx.backbones.inception_resnet.BRANCHES.
BRANCHES = {
    "mixed5b": _first(32), "mixed5c": _first(64), "mixed5d": _first(64),
    "mixed6a": (((384, (3, 3), 2),), ((64, (1, 1), 1), (96, (3, 3), 1), (96, (3, 3), 2)), ("max",)),
    "mixed6b": _second(128), "mixed6c": _second(160), "mixed6d": _second(160), "mixed6e": _second(192),
    "mixed7a": (((192, (1, 1), 1), (320, (3, 3), 2)),
                ((192, (1, 1), 1), (192, (1, 7), 1), (192, (7, 1), 1), (192, (3, 3), 2)), ("max",)),
    "mixed7b": _third("average"), "mixed7c": _third("max_same"),
}


class InceptionV3(Chain):
  """Inception-V3; see Chain and Trunk for the fields that trunks share.

  Attributes:
    form: 'fid', or 'torchvision', whose average pools count zeros outside of the image and
      are in every block.
    width_multiplier: of the channels of every convolution.
  """

  form: str = "fid"
  width_multiplier: float = 1.0
  eps: float = 1e-3

  def __post_init__(self):
    choices.check("form", self.form, FORMS)
    super().__post_init__()

  @nn.nowrap
  def own_sites(self) -> tuple[str, ...]:
    """All sites, in the order in which the input passes them."""
    return (*(name for name, *_ in STEM), *BRANCHES)

  def setup(self):
    sites_lib.check(self.sites, self.site_names())
    first, norm = self.norms()
    wide = lambda features: max(1, round(self.width_multiplier * features))

    def part(given):
      if isinstance(given, str):
        return "average_all" if self.form != "fid" and given in ("average", "max_same") else given
      if isinstance(given[0], tuple):
        return tuple(map(part, given))
      return (wide(given[0]), *given[1:])

    steps = []
    for name, features, kernel, stride, padding in STEM:
      unit = (("features", wide(features)), ("kernel", (kernel, kernel)), ("strides", stride), ("padding", padding),
              ("norm", norm if steps else first), ("dtype", self.dtype))
      steps.append((name, ConvStep(unit, name, self.placed, name=name) if features
                    else Pool(name, self.placed, name=name)))
    for name, branches in BRANCHES.items():
      branches = tuple(tuple(map(part, branch)) for branch in branches)
      steps.append((name, Mixed(name, branches, norm, self.placed, self.dtype, name=name)))
    self._steps = steps
    self.head = self.pooled_head()
