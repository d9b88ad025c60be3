"""Phrase grounding: from images with captions alone, a mask of where in an image a phrase is.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 6. The language
encoder is that of the system `language_model`, `train.init_from = (("/language/", RUN),)`, and
stays as it is, else all phrases come to one code.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.nn import choices
from vidx.nn import sites as sites_lib
from vidx.nn.phrase_grounding import MASKS, STATISTICS, SemanticEmbedding, drawn_negatives, phrase_masks
from vidx.systems.language_model import LanguageEncoder
from vidx.terminal import counted


class Grounding(nn.Module):
  """A visual encoder, a language encoder, and the space where both meet; see `grounding` for the fields."""

  trunk: nn.Module
  language: LanguageEncoder
  embedding: SemanticEmbedding
  score_scale: float
  mask: str

  inputs = ("video", "phrases", "phrase_mask", "phrase_name")
  encoders = ("language",)  # makes the codes of phrases (`data.phrases.codes`)
  held = ("^language/",)  # gets no gradient

  @property
  def vocab(self) -> int:
    """Words that a phrase may have."""
    return self.language.vocab

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the visual encoder, as far as it is used."""
    return _sites(self.trunk)

  def __call__(self, video: jax.Array, phrases: jax.Array, phrase_mask: jax.Array | None, phrase_name: jax.Array,
               train: bool = False) -> dict[str, jax.Array]:
    """Scores and grounds phrases.

    Args:
      video: (B, H, W, 3) images, or (B, 1, H, W, 3), normalised; sides of multiples of the encoder's stride.
      phrases: int32 (B, N, L) numbers of words, or, where `phrase_mask` is None, their codes (B, N, d).
      phrase_mask: (B, N, L), 1 for words.
      phrase_name: int32 (B, N), a number for each phrase, equal for equal ones; -1 for padding.
      train: batch statistics, dropout, and negatives drawn anew; else they are drawn the same each time.

    Returns:
      fp32 {'score': (B, N) of the image with its phrases, 'masks': (B, N, h, w), not negative, 'drawn': (B, N)
      scores of phrases of other images, and 'there': (B, N), 1 for those that there are, 'features': (B, d)}.
    """
    codes = self.encode_phrases(phrases, phrase_mask) if phrase_mask is not None else phrases.astype(jnp.float32)
    image, places = self.embedding(self.encode_images(video, train), train)
    scores = self.score_scale * jnp.einsum("bd,cnd->bcn", image, codes, precision="highest")
    key = self.make_rng("dropout") if train else jax.random.PRNGKey(0)
    names = phrase_name.astype(jnp.int32)
    drawn, there = drawn_negatives(key, scores, names)
    own = jnp.einsum("bbn->bn", scores)
    return {"score": own, "masks": phrase_masks(places, codes, self.score_scale, self.mask), "drawn": drawn,
            "there": there.astype(jnp.float32), "features": image}

  def encode_images(self, video: jax.Array, train: bool = False) -> jax.Array:
    """(B, H, W, 3), or (B, 1, H, W, 3), normalised -> (B, h, w, C), the last map of the visual encoder.

    Raises:
      ValueError: clips of several frames.
    """
    ways = self.trunk.enter(video)
    if video.ndim == 5 and video.shape[1] != 1:
      raise ValueError(f"phrases are grounded in images, not in clips of {counted(video.shape[1], 'frame')}: set"
                       " data.frames to 1")
    [(x, _)] = self.trunk.walk(ways, train, stop=_steps(self.trunk))
    if x.ndim != 5:
      raise ValueError("the visual encoder gives tokens, not a map")
    return x[:, 0]

  def encode_phrases(self, phrases: jax.Array, mask: jax.Array) -> jax.Array:
    """int32 (..., L) numbers of words, mask (..., L) -> their codes, fp32 (..., d); no gradient reaches the encoder."""
    return jax.lax.stop_gradient(self.language.codes(phrases, mask))


def _steps(trunk: nn.Module) -> int | None:
  """How many pieces of a trunk are walked: all but a last pooling, such as pool5 of VGG-16 (Thesis, section 6.2.2)."""
  own = trunk.own_sites()
  return -1 if own and own[-1].startswith("pool") else None


def _sites(trunk: nn.Module) -> tuple[str, ...]:
  names = trunk.site_names()
  return names[:-1] if _steps(trunk) else names


def grounding(trunk: str = "vgg16", dim: int = 1024, hidden: int = 1024, dropout: float = 0.5,
              bn_stats: str = "image", spatial_dropout: bool = False, linear: bool = False, score_scale: float = 0.0,
              mask: str = "sigmoid", vocab: int = 10_000, width: int = 512, layers: int = 2,
              language_dropout: float = 0.5, sites=None, dtype: Any = None, **fields) -> Grounding:
  """Weakly supervised grounding of phrases.

  Args:
    trunk: name of a network of images that has maps of features.
    dim: d, of the space where images and phrases meet, and of the states of the language encoder.
    hidden: width of the perceptron.
    dropout: in it.
    bn_stats: whose statistics normalise images and places: "image", "spatial" or "both".
    spatial_dropout: whether places lose the units that their image loses.
    linear: whether the perceptron has no ReLU.
    score_scale: factor of products of codes; 0: 1 / sqrt(d), with which sigmoids do not start saturated. The thesis'
      bare product is 1.
    mask: "sigmoid", "softplus" or "minmax", see `vidx.nn.phrase_grounding.phrase_masks`.
    vocab: words that there may be.
    width: of a word's vector.
    layers: of the LSTM.
    language_dropout: between its layers, as it was trained with; it has none here.
    sites: blocks to plug into the trunk.
    dtype: compute dtype of trunk, perceptron and LSTM; statistics, states, scores and masks are fp32.
    **fields: of the trunk, which has no classes.

  Returns:
    A module of the arrays in its `inputs` -> {'score', 'masks', 'drawn', 'there', 'features'}, see `Grounding`.
  """
  choices.check("bn_stats", bn_stats, STATISTICS)
  choices.check("mask", mask, MASKS)
  if score_scale < 0:
    raise ValueError(f"score_scale = {score_scale:g} is below 0")
  tower = systems.create_model(trunk, **{**fields, "sites": sites or {}, "dtype": dtype, "num_classes": 0})
  sites_lib.check(sites or {}, _sites(tower))
  return Grounding(
      tower, LanguageEncoder(vocab, width, dim, layers, language_dropout, dtype),
      SemanticEmbedding(hidden, dim, dropout, bn_stats, spatial_dropout, linear, dtype),
      score_scale or dim ** -0.5, mask)
