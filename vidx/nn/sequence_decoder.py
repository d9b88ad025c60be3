"""Attention decoder: a list of labels, each with a relative log length, from an encoded sequence.

The segment branch of Souri, Fayyaz et al.: "Fast Weakly Supervised Action Segmentation
Using Mutual Consistency", 2021 (section 9.3.3 of the thesis), with the additive
attention of Bahdanau et al.: "Neural Machine Translation by Jointly Learning to Align
and Translate", 2015. N classes; label N ends a list and N + 1 starts it.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices, recurrent
from vidx.nn.recurrent import Affine, product

LENGTH_INPUTS = ("h", "x")


class AttentionDecoder(nn.Module):
  """An LSTM that attends to the encoded sequence before each of its steps.

  Attributes:
    classes: N.
    hidden: of its state, attention and MLPs.
    embedding: channels of an embedded label.
    dropout: of embeddings.
    length_in: what the length is read from beside the label's logits, 'h', the state, or 'x', the input of the step.
    two_biases: see vidx.nn.recurrent.Gates.
    initial: see vidx.nn.recurrent.
    dtype: compute dtype of products; None is fp32. Softmax and states are fp32.
  """

  classes: int
  hidden: int = 128
  embedding: int = 128
  dropout: float = 0.25
  length_in: str = "h"
  two_biases: bool = False
  initial: str = "uniform"
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, encoded: jax.Array, state: jax.Array, cell: jax.Array, mask: jax.Array | None = None, *,
               steps: int, transcript: jax.Array | None = None, force: jax.Array | bool = True, stop: bool = True,
               train: bool = False) -> dict[str, jax.Array]:
    """Decodes lists, with teacher forcing or by feeding back the likeliest label.

    Args:
      encoded: (B, T, E).
      state: (B, H), before the first step.
      cell: (B, H).
      mask: (B, T), 1 for live entries; None: all live.
      steps: S, of the decoder.
      transcript: (B, M) true labels, -1 after the end, M >= S - 1; step m is then given label m - 1.
      force: whether it is so given; False, perhaps traced: the decoder's own label all the same.
      stop: whether a list that has ended stays so; otherwise it goes on as if the end were a label.
      train: dropout.

    Returns:
      {'logits': fp32 (B, S, N + 1); 'lengths': fp32 (B, S), relative log lengths; 'labels':
      int32 (B, S), the likeliest ones, never the end at the first step, and N after the end}.
    """
    choices.check("length_in", self.length_in, LENGTH_INPUTS)
    batch, _, width = encoded.shape
    end, start = self.classes, self.classes + 1
    affine = lambda features, name, bias=True: Affine(features, bias, self.initial, self.dtype, name=name)
    table = self.param("embedding", nn.initializers.normal(1.0), (self.classes + 2, self.embedding))
    read = self.param("attention", nn.initializers.normal(self.hidden ** -0.5), (self.hidden,))
    keys = self.param("keys", nn.initializers.normal(width ** -0.5), (width, self.hidden))
    keys = product(encoded, keys, self.dtype)  # of all steps
    query_w, query_b = affine(self.hidden, "query").weights(self.hidden)
    combine_w, combine_b = affine(self.hidden, "combine").weights(self.embedding + width)
    word_w, context_w = jnp.split(combine_w, [self.embedding])
    input_w, state_w, gates_b = recurrent.Gates(self.hidden, self.two_biases, self.initial, name="lstm")(self.hidden)
    label1_w, label1_b = affine(self.hidden, "label1").weights(self.hidden)
    label2_w, label2_b = affine(self.classes + 1, "label2").weights(self.hidden)
    times = lambda x, w: product(x, w, self.dtype)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    kept = drop(jnp.ones((steps, batch, self.embedding)))  # of every step's embedding, drawn at once
    embedded = lambda labels, kept: times(nn.relu(table)[labels] * kept, word_w)

    def of_state(h):
      return times(nn.relu(times(h, label1_w) + label1_b), label2_w) + label2_b

    def step(carry, inputs):
      h, c, label, over = carry
      number, given, word, kept = inputs
      if not always:
        label = label if given is None else jnp.where(force, given, label)
        word = embedded(label, kept)
      scores = jnp.tanh(keys + (times(h, query_w) + query_b)[:, None]) @ read
      weights = jax.nn.softmax(scores if mask is None else jnp.where(mask, scores, -jnp.inf))
      context = jnp.einsum("bt,bte->be", weights, encoded.astype(jnp.float32))
      x = nn.relu(word + times(context, context_w) + combine_b)
      h, c = recurrent.lstm_step(times(x, input_w) + times(h, state_w) + gates_b, c)
      logits = None
      if not always:
        logits = of_state(h)
        label, over = likeliest(logits, number, over)
      return (h, c, label, over), (h, x, logits, label)

    def likeliest(logits, number, over):
      label = jnp.argmax(jnp.where((number == 0) & (jnp.arange(end + 1) == end), -jnp.inf, logits), -1)
      label = jnp.where(over, end, label.astype(jnp.int32))
      return label, over | (label == end) if stop else over

    always = transcript is not None and force is True  # then nothing but the recurrence is left to the scan
    first = jnp.full((batch,), start, jnp.int32)
    given = word = None
    if transcript is not None:
      given = jnp.concatenate([first[None], jnp.clip(transcript.T[:steps - 1], 0)])
      word = embedded(given, kept) if always else None
    carry = (state, cell, first, jnp.zeros((batch,), bool))
    _, (states, taken, logits, labels) = jax.lax.scan(step, carry, (jnp.arange(steps), given, word, kept))
    if always:
      logits = of_state(states)
      _, labels = jax.lax.scan(lambda over, x: likeliest(x[1], x[0], over)[::-1], carry[3],
                               (jnp.arange(steps), logits))
    source = states if self.length_in == "h" else taken
    lengths = affine(1, "length2")(nn.relu(affine(64, "length1")(nn.relu(jnp.concatenate([source, logits], -1)))))
    lengths = lengths[..., 0]
    return {"logits": jnp.moveaxis(logits, 0, 1), "lengths": lengths.T, "labels": labels.T}
