"""How far two images are apart, in colours or in the features of a network that stays as it is.

Johnson et al.: "Perceptual Losses for Real-Time Style Transfer and
Super-Resolution", 2016; the weights over VGG-19 are those of pix2pixHD (Wang et al. 2018).
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.backbones import table
from vidx.backbones.vgg import VGG
from vidx.nn import choices
from vidx.nn.adversarial import per_example

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: {name: (trunk, {site: weight}, power)}
FORMS = {
    "vgg19": ("vgg19", {"conv1.0": 1 / 32, "conv2.0": 1 / 16, "conv3.0": 1 / 8, "conv4.0": 1 / 4, "conv5.0": 1.0}, 1),
    "vgg16": ("vgg16", {"conv2.1": 1.0}, 2),  # relu2_2
}
DISTANCES = ("l1", *FORMS)


class PerceptualDistance(nn.Module):
  """sum over layers of w mean |F(x) - F(y)|^p with the features F of a VGG; nothing in it is trained.

  `perception` of a run needs ImageNet's weights: `train.init_from = (("/perception/", RUN),)` with a run or
  converted file of the trunk. Systems hold it.

  Attributes:
    form: 'vgg19' (five layers, p = 1), or 'vgg16' (relu2_2, p = 2).
    dtype: compute dtype of the trunk; the distance is fp32.
  """

  form: str = "vgg19"
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
    """(B, H, W, 3) twice, in -1..1 -> fp32 (B,); no gradient reaches `y`."""
    choices.check("distance", self.form, tuple(FORMS))
    name, weights, power = FORMS[self.form]
    trunk = VGG(0, **table.ROWS[name].fields, hidden=(), dtype=self.dtype, name="trunk")
    mean, std = (jnp.asarray(v, jnp.float32) for v in IMAGENET)
    images = jnp.concatenate([x.astype(jnp.float32), jax.lax.stop_gradient(y.astype(jnp.float32))])
    ways, total, left = trunk.enter((images * 0.5 + 0.5 - mean) / std), 0.0, dict(weights)
    for step, piece in trunk.pieces():
      if not left:
        break
      ways = piece(ways, False)
      if step in left:
        of_x, of_y = jnp.split(ways[0][0].astype(jnp.float32), 2)
        total += left.pop(step) * per_example(jnp.abs(of_x - jax.lax.stop_gradient(of_y)) ** power)
    return total


def least(form: str) -> int:
  """Pixels that a side has at least if the last layer that is compared is to have one."""
  return 2 ** max(int(site[len("conv")]) - 1 for site in FORMS[form][1]) if form in FORMS else 1


def colours(x: jax.Array, y: jax.Array) -> jax.Array:
  """Mean absolute difference of images (B, H, W, 3): fp32 (B,); no gradient reaches `y`."""
  return per_example(jnp.abs(x.astype(jnp.float32) - jax.lax.stop_gradient(y.astype(jnp.float32))))


def distance(form: str, dtype=None, name: str | None = None):
  """(x, y) -> (B,): `colours` for 'l1', else a PerceptualDistance."""
  choices.check("distance", form, DISTANCES)
  return colours if form == "l1" else PerceptualDistance(form, dtype, name=name)
