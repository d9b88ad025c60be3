"""LSTM over sequences of different lengths, in one or several layers or both directions, exact under padding.

Hochreiter and Schmidhuber: "Long Short-Term Memory", 1997. Gates are in the order input,
forget, cell, output. Products with the inputs of all steps are taken at once; what
remains for the scan is the product with the state. States are fp32.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn.initialisers import bias_init, kernel_init


def product(x: jax.Array, w: jax.Array, dtype: jnp.dtype | None = None) -> jax.Array:
  """x (..., D) times w (D, E), or many by many as `jnp.matmul` has it, in `dtype`, as fp32."""
  dtype = dtype or jnp.float32
  return jnp.matmul(x.astype(dtype), w.astype(dtype), preferred_element_type=jnp.float32)


class Affine(nn.Module):
  """A dense layer; its weights are also to be had without an input, for use inside a scan.

  Attributes:
    features: outputs E.
    bias: whether there is one.
    initial: one of initialisers.INITS.
    dtype: compute dtype; None is fp32.
  """

  features: int
  bias: bool = True
  initial: str = "uniform"
  dtype: jnp.dtype | None = None

  @nn.compact
  def weights(self, size: int) -> tuple[jax.Array, jax.Array | float]:
    """(D, E) and (E,), for inputs of `size` channels D; 0 in place of a bias that is not there."""
    w = self.param("kernel", kernel_init(self.initial), (size, self.features))
    return w, self.param("bias", bias_init(self.initial, size), (self.features,)) if self.bias else 0.0

  def __call__(self, x: jax.Array) -> jax.Array:
    """(..., D) -> fp32 (..., E)."""
    w, bias = self.weights(x.shape[-1])
    return product(x, w, self.dtype) + bias


class Gates(nn.Module):
  """Weights of one LSTM: what the gates take from the inputs, from the state, and add.

  Attributes:
    hidden: size H of the state.
    two_biases: a second bias, beside the state, as PyTorch and cuDNN have it.
    initial: one of initialisers.INITS; 'gaussian' kernels of the state are orthogonal.
    forget: added to the initial bias of the forget gate, so that an untrained LSTM keeps what it has seen
      (Gers et al. 2000).
  """

  hidden: int
  two_biases: bool = False
  initial: str = "uniform"
  forget: float = 0.0

  @nn.compact
  def __call__(self, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(D, 4 H), (H, 4 H) and (4 H,), for inputs of `size` channels D."""
    width = 4 * self.hidden
    bounded = bias_init("uniform", self.hidden)  # PyTorch has this bound for every weight of an LSTM
    gaussian = self.initial == "gaussian"
    kernel_init(self.initial)  # a wrong name is an error here
    w = self.param("input", nn.initializers.lecun_normal() if gaussian else bounded, (size, width))
    u = self.param("state", nn.initializers.orthogonal() if gaussian else bounded, (self.hidden, width))
    zeros = nn.initializers.zeros_init()
    first = zeros if gaussian else bounded
    kept = (jnp.arange(width) // self.hidden == 1) * self.forget  # the second gate of four
    bias = self.param("bias", lambda key, shape: first(key, shape) + kept, (width,))
    if self.two_biases:
      bias += self.param("state_bias", zeros if gaussian else bounded, (width,))
    return w, u, bias


def lstm_step(gates: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The next state and cell, (..., H) each, from gates (..., 4 H) and the cell."""
  enter, keep, new, leave = jnp.split(gates, 4, -1)
  cell = nn.sigmoid(keep) * cell + nn.sigmoid(enter) * jnp.tanh(new)
  return nn.sigmoid(leave) * jnp.tanh(cell), cell


class BiLSTM(nn.Module):
  """Two LSTMs over a sequence, one from each live end, in one scan.

  Attributes:
    hidden: size H of the state of a direction.
    two_biases: see Gates.
    initial: see Gates.
    dtype: compute dtype of products; None is fp32.
  """

  hidden: int = 128
  two_biases: bool = False
  initial: str = "uniform"
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Encodes sequences.

    Args:
      x: (B, T, D).
      mask: (B, T), 1 for live entries, live ones in front; None: all live.

    Returns:
      fp32 states (B, T, 2 H), zero where not live, and the final states and cells
      (B, 2 H): after the last live entry, and of the other direction before the first.
    """
    batch, length, size = x.shape
    mask = jnp.ones((batch, length), bool) if mask is None else mask.astype(bool)
    w, u, bias = zip(*(Gates(self.hidden, self.two_biases, self.initial, name=name)(size)
                       for name in ("forward", "backward")))
    both = jnp.stack([x, x[:, ::-1]])  # read from the end, padding comes first and leaves the state at zero
    live = jnp.stack([mask, mask[:, ::-1]])
    gates = product(both, jnp.stack(w)[:, None], self.dtype) + jnp.stack(bias)[:, None, None]  # (2, B, T, 4 H)
    u = jnp.stack(u)

    def step(before, inputs):
      gates, live = inputs
      after = lstm_step(gates + product(before[0], u, self.dtype), before[1])
      after = jax.tree.map(lambda new, old: jnp.where(live[..., None], new, old), after, before)
      return after, after[0]

    zero = jnp.zeros((2, batch, self.hidden))
    (state, cell), states = jax.lax.scan(step, (zero, zero), (jnp.moveaxis(gates, 2, 0), jnp.moveaxis(live, 2, 0)))
    onward, back = jnp.moveaxis(states, 0, 2)  # (B, T, H) each
    states = jnp.where(mask[..., None], jnp.concatenate([onward, back[:, ::-1]], -1), 0)
    return states, jnp.concatenate(list(state), -1), jnp.concatenate(list(cell), -1)


class StackedLSTM(nn.Module):
  """LSTMs one on top of the other, with dropout between them (Hochreiter and Schmidhuber 1997; Srivastava et al. 2014).

  Attributes:
    hidden: size H of the state of each layer.
    layers: how many there are.
    dropout: of what a layer gives to the next.
    initial: see Gates.
    forget: see Gates.
    dtype: compute dtype of products; None is fp32.
  """

  hidden: int = 1024
  layers: int = 2
  dropout: float = 0.5
  initial: str = "uniform"
  forget: float = 1.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Reads sequences from their first entry on, so that what comes later changes no state before it.

    Args:
      x: (B, T, D).
      train: dropout.

    Returns:
      fp32 states of the last layer, (B, T, H); padding behind a sequence leaves those of the sequence as they are.
    """
    for i in range(self.layers):
      if i:
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
      w, u, bias = Gates(self.hidden, initial=self.initial, forget=self.forget, name=f"layer{i + 1}")(x.shape[-1])
      gates = product(x, w, self.dtype) + bias

      def step(before, gates, u=u):
        after = lstm_step(gates + product(before[0], u, self.dtype), before[1])
        return after, after[0]

      zero = jnp.zeros((len(x), self.hidden))
      _, states = jax.lax.scan(step, (zero, zero), jnp.moveaxis(gates, 1, 0))
      x = jnp.moveaxis(states, 0, 1)
    return x
