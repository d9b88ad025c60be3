"""Initial values of kernels and biases, by the name of how they are drawn, and parameters that begin with them."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import choices

INITS = ("gaussian", "uniform")


def kernel_init(name: str):
  """'gaussian': He, normal; 'uniform': +-1/sqrt(fan_in), as PyTorch has it."""
  choices.check("initial", name, INITS)
  return nn.initializers.he_normal() if name == "gaussian" else nn.initializers.variance_scaling(
      1 / 3, "fan_in", "uniform")


def bias_init(name: str, fan_in: int):
  """Zeros beside 'gaussian' kernels, +-1/sqrt(fan_in) beside 'uniform' ones."""
  if name == "gaussian":
    return nn.initializers.zeros_init()
  return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -1, 1) / fan_in ** 0.5


def param(module: nn.Module, name: str, init, shape: tuple[int, ...], *rest) -> jax.Array:
  """What `module.param` gives; the initial value of a parameter that is there is not traced again for its shape.

  Flax does that at every call of a module, which is half of the time in which a deep network is traced.

  Raises:
    ScopeParamShapeError: a parameter is there, of another shape.
  """
  if not module.is_initializing() and module.has_variable("params", name):
    value = nn.meta.unbox(module.get_variable("params", name))
    if jnp.shape(value) == tuple(shape):
      return value
  return module.param(name, init, shape, *rest)
