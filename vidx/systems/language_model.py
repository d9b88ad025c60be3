"""A model of language that says of every word of a sentence which is the next, and gives phrases a code.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, section 6.2.2, "Language encoding".
What it learned starts the system `grounding`: `train.init_from = (("/language/", RUN),)`.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn.initialisers import bias_init, kernel_init
from vidx.nn.recurrent import StackedLSTM


class LanguageEncoder(nn.Module):
  """Word vectors and a stacked LSTM; the code of a phrase is the last layer's state at its last word.

  Attributes:
    vocab: words that there may be.
    width: of a word's vector.
    hidden: d, of the states and so of a code.
    layers: of the LSTM.
    dropout: of the word vectors' LSTM between its layers.
    dtype: compute dtype of products; states are fp32.
  """

  vocab: int = 10_000
  width: int = 512
  hidden: int = 1024
  layers: int = 2
  dropout: float = 0.5
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
    """int32 (B, L) numbers of words, padding behind them -> fp32 states (B, L, d)."""
    words = nn.Embed(self.vocab, self.width, dtype=self.dtype, name="words")(tokens.astype(jnp.int32))
    return StackedLSTM(self.hidden, self.layers, self.dropout, dtype=self.dtype, name="lstm")(words, train)

  def codes(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Codes of phrases (Thesis, section 6.2.2: the hidden vector at time step T), without dropout.

    Args:
      tokens: int32 (..., L).
      mask: (..., L), 1 for words; live ones in front.

    Returns:
      fp32 (..., d); zeros of a phrase without a word.
    """
    lead, length = tokens.shape[:-1], tokens.shape[-1]
    states = self(tokens.reshape(-1, length), False)
    live = mask.reshape(-1, length) > 0
    return jnp.where(live.any(-1, keepdims=True), _at_end(states, live), 0).reshape(*lead, self.hidden)


def _at_end(states, live):
  """(N, d) of states (N, L, d): those of the last entries that are live, (N, L); of the first where none is."""
  return jnp.take_along_axis(states, jnp.maximum(live.sum(-1) - 1, 0)[:, None, None], 1)[:, 0]


class LanguageModel(nn.Module):
  """The next word of every word of a sentence; see LanguageEncoder for the fields.

  In evaluation a record may have several texts, (B, Q, L); so have its outputs then.
  """

  vocab: int = 10_000
  width: int = 512
  hidden: int = 1024
  layers: int = 2
  dropout: float = 0.5
  dtype: Any = None

  inputs = ("text", "text_mask")

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """There are none."""
    return ()

  @nn.compact
  def __call__(self, text: jax.Array, text_mask: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Scores next words.

    Args:
      text: int32 (..., L), [CLS], words, [SEP] and padding.
      text_mask: (..., L), 1 for live ones.
      train: dropout.

    Returns:
      fp32 {'logits': (..., L - 1, vocab) of the words from the second on, 'features': (..., d), the state at the
      last live one}.
    """
    lead, length = text.shape[:-1], text.shape[-1]
    language = LanguageEncoder(self.vocab, self.width, self.hidden, self.layers, self.dropout, self.dtype,
                               name="language")
    states = language(text.reshape(-1, length), train)
    dropped = nn.Dropout(self.dropout, deterministic=not train)(states[:, :-1])
    logits = nn.Dense(self.vocab, dtype=self.dtype, kernel_init=kernel_init("uniform"),
                      bias_init=bias_init("uniform", self.hidden), name="next")(dropped).astype(jnp.float32)
    last = _at_end(states, text_mask.reshape(-1, length) > 0)
    return {"logits": logits.reshape(*lead, length - 1, self.vocab), "features": last.reshape(*lead, -1)}
