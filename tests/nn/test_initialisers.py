"""Parameters that are there are used as they are, and their initial values not traced again."""

from flax import errors
from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

from vidx.nn.initialisers import param


TRACED = []


class Scaled(nn.Module):
  count: int = 3

  @nn.compact
  def __call__(self, x):
    def init(key, shape, dtype=jnp.float32):
      TRACED.append(shape)
      return jax.random.normal(key, shape, dtype)

    return x * param(self, "scale", init, (self.count,), jnp.float32)


def test_an_initial_value_is_drawn_once_as_the_module_draws_it():
  TRACED.clear()
  model = Scaled()
  variables = model.init(jax.random.PRNGKey(0), jnp.ones(3))
  assert len(TRACED) == 1
  assert jax.tree.structure(variables) == jax.tree.structure({"params": {"scale": 0}})
  jax.make_jaxpr(model.apply)(variables, jnp.ones(3))
  assert len(TRACED) == 1
  assert (model.apply(variables, 2 * jnp.ones(3)) == 2 * variables["params"]["scale"]).all()


def test_another_shape_is_refused_as_flax_refuses_it():
  variables = Scaled().init(jax.random.PRNGKey(0), jnp.ones(3))
  with pytest.raises(errors.ScopeParamShapeError):
    Scaled(count=1).apply(variables, jnp.ones(3))


def test_a_missing_one_is_named_as_flax_names_it():
  with pytest.raises(errors.ScopeParamNotFoundError):
    Scaled().apply({"params": {"other": jnp.ones(3)}}, jnp.ones(3))
