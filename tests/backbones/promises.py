"""What every trunk promises, as functions for the tests of the families."""

import functools

from flax import linen as nn
import jax
from jax import export
import jax.numpy as jnp
import numpy as np

from vidx.backbones.chain import Trunk


class Identity(nn.Module):
  """A block that changes nothing."""

  @nn.compact
  def __call__(self, x):
    return x


@functools.cache
def jitted(model):
  """The model's forward pass, compiled once per model."""
  return jax.jit(lambda variables, *inputs, **masks: model.apply(variables, *inputs, **masks))


def some_input(shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shapes_of(model, *inputs):
  """Shapes of a model's variables; each model is traced once."""
  return _shapes_of(model, tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs))


@functools.cache
def _shapes_of(model, inputs):
  return jax.eval_shape(model.init, jax.random.PRNGKey(0), *inputs)


def some_variables(model, *inputs, seed=0):
  """Random values of every parameter and statistic, so that nothing is hidden by zeros."""
  shapes = shapes_of(model, *inputs)
  rng = np.random.default_rng(seed)

  def value(path, leaf):
    name = path[-1].key
    if name == "var":
      return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
    if name == "scale":
      return jnp.asarray(rng.uniform(0.8, 1.2, leaf.shape), jnp.float32)
    fan_in = max(np.prod(leaf.shape[:-1]), 1) if name == "kernel" else 25
    return jnp.asarray(rng.normal(size=leaf.shape) / fan_in ** 0.5, jnp.float32)

  return jax.tree_util.tree_map_with_path(value, shapes)


def keeps_examples_apart(model, x, key="features"):
  """Evaluation of one example does not depend on the others of its batch."""
  variables = some_variables(model, x)
  together = jax.tree.leaves(jitted(model)(variables, x)[key])
  changed = x.at[1:].set(x[1:] * 0 if x.dtype == jnp.int32 else x[1:] * 3 + 1)
  for a, b in zip(jax.tree.leaves(jitted(model)(variables, changed)[key]), together):
    np.testing.assert_allclose(a[0], b[0], rtol=1e-5, atol=1e-5)


def identities_change_nothing(make, x):
  """A block that changes nothing, plugged into every site, leaves every output bit for bit."""
  plain, plugged = make(), make(sites={"*": Identity})
  variables = some_variables(plain, x)
  assert jax.tree.structure(variables) == jax.tree.structure(some_variables(plugged, x))
  for a, b in zip(*(jax.tree.leaves(jitted(m)(variables, x)) for m in (plain, plugged))):
    np.testing.assert_array_equal(a, b)


def visits_every_site(model, x):
  """Every listed site is passed, in the order of the list; in a trunk behind a prefix as well, and plugged by it."""
  assert _visited(model, x) == model.site_names()
  if isinstance(model, Trunk):
    filled = []
    other = model.clone(prefix="p.", sites={"p.*": lambda: filled.append(1) or Identity()})
    assert _visited(other, x) == other.site_names() == tuple("p." + name for name in model.own_sites())
    assert len(filled) == len(other.site_names())


def _visited(model, x):
  seen = []

  def note(next_call, args, kwargs, context):
    if type(context.module).__name__ == "Site" and context.method_name == "__call__":
      seen.append(context.module.site)
    return next_call(*args, **kwargs)

  with nn.intercept_methods(note):
    jax.eval_shape(model.init, jax.random.PRNGKey(0), x)
  return tuple(seen)


def has_finite_gradients(model, x):
  """In training mode and half precision, for every parameter; and none is dead."""
  variables = some_variables(model, x)
  rest = {k: v for k, v in variables.items() if k != "params"}

  @jax.jit
  def loss(params):
    out, _ = model.apply({"params": params, **rest}, x, train=True, mutable=["batch_stats"],
                         rngs={"dropout": jax.random.PRNGKey(0)})
    key = "logits" if "logits" in out else "features"
    assert out[key].dtype == jnp.float32
    return (out[key] ** 2).sum()

  grads = jax.jit(jax.grad(loss))(variables["params"])
  for path, g in jax.tree_util.tree_leaves_with_path(grads):
    assert np.isfinite(g).all(), path
    yield jax.tree_util.keystr(path, simple=True, separator="/"), bool(np.any(g))


def lowers_for_accelerators(model, *x):
  """The forward pass is lowered for TPU and CUDA."""
  forward = jax.jit(lambda v, *x: model.apply(v, *x))
  assert export.export(forward, platforms=["tpu", "cuda"])(shapes_of(model, *x), *x).mlir_module_serialized
