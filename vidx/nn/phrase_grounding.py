"""Images and phrases in one space: scores of both, and masks that say where in an image a phrase is.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, section 6.2.2.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices
from vidx.nn.initialisers import bias_init, kernel_init
from vidx.nn.norm import BatchNorm

STATISTICS = ("image", "spatial", "both")
MASKS = ("sigmoid", "softplus", "minmax")


class SemanticEmbedding(nn.Module):
  """A perceptron of two layers with dropout between them and batch normalisation behind, for images and their places.

  Both pass the same weights and, in the normalisation, the same statistics, so that the code of a place
  and that of an image are of one scale (Thesis, section 6.2.2, "Joint semantic embedding").

  Attributes:
    hidden: width between the layers.
    dim: d of a code.
    dropout: between the layers.
    statistics: what the batch statistics are taken over: the codes of images ("image"), of their places ("spatial"),
      or of both; in evaluation the running ones of these.
    spatial_dropout: whether the places lose the units that their image loses; else they lose none.
    linear: whether the ReLU between the layers is left out.
    dtype: compute dtype of the layers; statistics and codes are fp32.
  """

  hidden: int = 1024
  dim: int = 1024
  dropout: float = 0.5
  statistics: str = "image"
  spatial_dropout: bool = False
  linear: bool = False
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
    """Embeds feature maps.

    Args:
      x: (B, H, W, C).
      train: statistics of the batch, and dropout.

    Returns:
      fp32 (B, d) of the images, whose features are means over their places, and fp32 (B, H, W, d) of the places.
    """
    choices.check("bn_stats", self.statistics, STATISTICS)
    batch, height, width, channels = x.shape
    places = x.reshape(batch, height * width, channels)
    image = places.astype(jnp.float32).mean(1, keepdims=True).astype(x.dtype)
    layer = lambda width, name: nn.Dense(width, dtype=self.dtype, kernel_init=kernel_init("gaussian"),
                                         bias_init=bias_init("gaussian", 1), name=name)
    first, second = layer(self.hidden, "first"), layer(self.dim, "second")
    image, places = first(image), first(places)
    if not self.linear:
      image, places = nn.relu(image), nn.relu(places)
    if train and self.dropout:
      keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.dropout, (batch, 1, self.hidden))
      drop = lambda y: jnp.where(keep, y / (1 - self.dropout), 0).astype(y.dtype)
      image, places = drop(image), drop(places) if self.spatial_dropout else places
    image, places = second(image), second(places)
    norm = BatchNorm(name="norm")
    if self.statistics == "image":
      image, places = norm(image, train, beside=places)
    elif self.statistics == "spatial":
      places, image = norm(places, train, beside=image)
    else:
      image, places = jnp.split(norm(jnp.concatenate([image, places], 1), train), [1], 1)
    return image[:, 0], places.reshape(batch, height, width, self.dim)


def phrase_masks(places: jax.Array, codes: jax.Array, scale: float, kind: str = "sigmoid") -> jax.Array:
  """How well each place of an image fits each phrase.

  Args:
    places: fp32 (B, H, W, d) codes of places.
    codes: fp32 (B, N, d) codes of phrases.
    scale: factor of their products.
    kind: "sigmoid" of the product; "softplus", which has no upper bound; or "minmax", from 0 at the worst to 1 at the
      best place.

  Returns:
    fp32 (B, N, H, W), not negative.
  """
  choices.check("mask", kind, MASKS)
  fits = scale * jnp.einsum("bhwd,bnd->bnhw", places, codes, precision="highest")
  if kind == "sigmoid":
    return jax.nn.sigmoid(fits)
  if kind == "softplus":
    return jax.nn.softplus(fits)
  low, high = (f(fits, (-2, -1), keepdims=True) for f in (jnp.min, jnp.max))
  return (fits - low) / jnp.maximum(high - low, 1e-6)


def drawn_negatives(key: jax.Array, scores: jax.Array, names: jax.Array) -> tuple[jax.Array, jax.Array]:
  """As many phrases of other images of the batch as an image has of its own, drawn with equal chances.

  A phrase that an image has itself is none of its negatives, whichever image it is drawn from.

  Args:
    key: randomness.
    scores: fp32 (B, B, N): of each image with the phrases of each.
    names: int32 (B, N): a number for each phrase, equal for equal ones; -1 for padding.

  Returns:
    fp32 (B, N) the scores of the drawn ones, and bool (B, N), which of them there are.
  """
  batch, count = names.shape
  own = (names[:, None, :, None] == names[None, :, None, :]).any(2)  # (B, B, N): image, other image, its phrase
  may = ((names >= 0)[None] & ~own).reshape(batch, -1)
  draw = jax.random.categorical(key, jnp.where(may, 0.0, -jnp.inf)[:, None], axis=-1, shape=(batch, count))
  taken = jnp.take_along_axis(scores.reshape(batch, -1), draw, 1)
  there = (names >= 0) & may.any(-1, keepdims=True)
  return jnp.where(there, taken, 0), there
