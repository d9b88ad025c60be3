"""A captioner: two streams of features gate one another, and words gate what a sentence will be in parts of speech.

The network of section 5.4.7 of Fayyaz: "Temporal and Multi-label Understanding of Video", 2024, which takes it of Wang
et al.: "Controllable Video Captioning with POS Sequence Guidance Based on Gated Fusion Network", 2019. The generator
of parts of speech is trained first; then the captioner by likelihood; then by how much what it draws agrees more with
references than what it finds likeliest (Rennie et al.: "Self-critical Sequence Training", 2017).
"""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import sentence_decoder
from vidx.nn.gated_streams import GatedStreams
from vidx.nn.sentence_decoder import SentenceDecoder

TAGS = 20  # parts of speech; behind them the end of a sentence and its start
END, START = TAGS, TAGS + 1
STREAMS = ("rgb", "motion")


def _named(streams: Sequence[str]) -> tuple[str, ...]:
  return (*(f"expert/{s}" for s in streams), *(f"expert_mask/{s}" for s in streams))


def _halves(arrays: Sequence[jax.Array]) -> tuple[Sequence[jax.Array], Sequence[jax.Array]]:
  half = len(arrays) // 2
  return arrays[:half], arrays[half:]


def _first(words: jax.Array) -> jax.Array:
  """Of several sentences of a video, (B, Q, L), the first."""
  return (words[:, 0] if words.ndim == 3 else words).astype(jnp.int32)


class POSGenerator(nn.Module):
  """Parts of speech of a sentence about a video: streams without gates, and a decoder of one layer.

  Attributes:
    streams: names of one or two experts.
    steps: L, tokens of a sentence, its start and end included.
    hidden: H.
    embedding: channels of a part of speech.
    attention: channels in which keys and query meet.
    dropout: of all layers.
    dtype: compute dtype.
  """

  streams: tuple[str, ...] = STREAMS
  steps: int = 28
  hidden: int = 512
  embedding: int = 468
  attention: int = 1536
  dropout: float = 0.5
  dtype: Any = None

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch."""
    return ("tags", *_named(self.streams))

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """There are none."""
    return ()

  def setup(self):
    self.encoder = GatedStreams(self.hidden, False, self.dropout, self.dtype)
    self.decoder = SentenceDecoder(TAGS + 2, 1, self.hidden, self.embedding, self.attention, self.dropout, self.dtype)

  def __call__(self, tags: jax.Array, *arrays: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Logits of the next part of speech.

    Args:
      tags: int32 (B, L), -1 after the end; (B, Q, L): the first is followed.
      *arrays: (B, K, D) of each stream, then (B, K) which of its steps are live.
      train: dropout and batch statistics.

    Returns:
      {'logits': fp32 (B, L - 1, 22)}.
    """
    tags = jnp.maximum(_first(tags)[:, :-1], 0)
    decoding = self.decoder(*self.encoder(*_halves(arrays), train))
    kept = None
    if train and self.dropout:
      kept = self.decoder.kept(self.make_rng("dropout"), tags.shape[1], len(tags), 0)
    return {"logits": sentence_decoder.follow(decoding, tags, kept)[0]}

  def guide(self, *arrays: jax.Array) -> jax.Array:
    """The state behind the likeliest sequence, fp32 (B, H); without dropout."""
    decoding = self.decoder(*self.encoder(*_halves(arrays), False))
    return sentence_decoder.speak(decoding, start=START, end=END, steps=self.steps - 1,
                                  banned=(START,))["state"][-1][0]


class Captioner(nn.Module):
  """Sentences about videos; see the fields of `POSGenerator` for those of both.

  Attributes:
    vocab: V, words at most, the special ones included.
    start: number of the word before a sentence.
    end: number of the word behind it.
    banned: words that are never said.
    beam: sentences that evaluation holds.
    penalty: of their lengths, see `beam_search`.
    guided: whether there is a generator of parts of speech.
    gated: whether streams gate one another.
    self_critical: whether training draws sentences, in place of following given ones.
    own_from: share of the training from which on some words are the decoder's own.
    own_every: share of the training after which they become more.
    own_step: by how much.
    own_most: share of the words.
  """

  streams: tuple[str, ...] = STREAMS
  vocab: int = 20_000
  steps: int = 28
  hidden: int = 512
  embedding: int = 468
  attention: int = 1536
  dropout: float = 0.5
  start: int = 2
  end: int = 3
  banned: tuple[int, ...] = (0, 1, 2)
  beam: int = 3
  penalty: float = 0.0
  guided: bool = True
  gated: bool = True
  self_critical: bool = False
  own_from: float = 3 / 60
  own_every: float = 5 / 60
  own_step: float = 0.05
  own_most: float = 0.25
  dtype: Any = None

  def __post_init__(self):
    if self.beam < 1:
      raise ValueError(f"beam={self.beam} is not at least 1")
    if len(self.streams) not in (1, 2) or len(set(self.streams)) < len(self.streams):
      raise ValueError(f"streams {tuple(self.streams)} are not one or two different names")
    super().__post_init__()

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch: a sentence, the streams, which of their steps are live, and how far training is."""
    return ("text", *_named(self.streams), "progress")

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """There are none."""
    return ()

  def setup(self):
    self.encoder = GatedStreams(self.hidden, self.gated, self.dropout, self.dtype)
    self.decoder = SentenceDecoder(self.vocab, 2, self.hidden, self.embedding, self.attention, self.dropout, self.dtype)
    if self.guided:
      self.pos = POSGenerator(self.streams, self.steps, self.hidden, self.embedding, self.attention, self.dropout,
                              self.dtype)

  def own(self, progress: jax.Array) -> jax.Array:
    """Share of words that are the decoder's own, of the share of the training that is done."""
    times = jnp.floor((progress - self.own_from) / self.own_every + 1e-4)
    return jnp.clip(self.own_step * times, 0, self.own_most)

  def __call__(self, text: jax.Array, *arrays: jax.Array, train: bool = False) -> dict[str, Any]:
    """Follows a sentence, draws some, or (in evaluation) finds the likeliest.

    Args:
      text: int32 (B, L) words with start and end; (B, Q, L): the first is followed.
      *arrays: (B, K, D) of each stream, (B, K) which of its steps are live, and (B,) share of the training.
      train: dropout, batch statistics and the decoder's own words.

    Returns:
      'logits', fp32 (B, L - 1, V), of the word after each of the text; in evaluation also 'words' (B, S), 'count' (B,),
      'score' (B,) and 'gates' (B, S) of `beam_search`. In self-critical training {'drawn', 'likeliest'} of `speak`.
    """
    *arrays, progress = arrays
    text = _first(text)[:, :-1]
    guide = None
    if self.guided:  # it has been trained before, and is no part of what is learned
      guide = jax.lax.stop_gradient(self.pos.guide(*arrays))
      if self.is_initializing():
        self.pos(jnp.zeros_like(text), *arrays)
    decoding = self.decoder(*self.encoder(*_halves(arrays), train), guide)
    kept = None
    steps = self.steps - 1
    if train and self.dropout:
      kept = self.decoder.kept(self.make_rng("dropout"), steps if self.self_critical else text.shape[1], len(text),
                               self.hidden if self.guided else 0)
    speak = dict(start=self.start, end=self.end, steps=steps, banned=self.banned)
    if train and self.self_critical:
      likeliest = jax.lax.stop_gradient(sentence_decoder.speak(decoding, **speak))
      drawn = sentence_decoder.speak(decoding, **speak, kept=kept, key=self.make_rng("dropout"))
      return {"drawn": drawn, "likeliest": likeliest}
    key = self.make_rng("dropout") if train and self.own_most else None
    logits, _ = sentence_decoder.follow(decoding, text, kept, key, self.own(progress))
    if train or self.is_initializing():
      return {"logits": logits}
    return {"logits": logits, **sentence_decoder.beam_search(decoding, width=self.beam, penalty=self.penalty, **speak)}
