import jax
import jax.numpy as jnp
import numpy as np

from tests.backbones import promises
from vidx.nn import CrossGate

H, G = (np.asarray(promises.some_input(shape, seed)) for seed, shape in enumerate([(2, 3, 6), (2, 4)]))


def run(kernel, bias, h=H):
  return CrossGate().apply({"params": {"fc": {"kernel": kernel, "bias": bias}}}, h, G)


def test_equals_the_equation():
  kernel, bias = np.asarray(promises.some_input((4, 6))), np.asarray(promises.some_input((6,)))
  want = H / (1 + np.exp(-(G @ kernel + bias)))[:, None]
  np.testing.assert_allclose(run(kernel, bias), want, atol=1e-5)


def test_a_gate_of_zero_weights_halves_and_an_open_one_changes_nothing():
  np.testing.assert_array_equal(run(np.zeros((4, 6)), np.zeros(6)), H / 2)
  np.testing.assert_allclose(run(np.zeros((4, 6)), np.full(6, 30.0)), H, rtol=1e-6)


def test_it_lowers_keeps_half_precision_and_has_gradients():
  model, half = CrossGate(), jnp.asarray(H, jnp.bfloat16)
  variables = model.init(jax.random.PRNGKey(0), H, G)
  assert CrossGate(dtype=jnp.bfloat16).apply(variables, half, G).dtype == jnp.bfloat16
  grads = jax.grad(lambda v: (model.apply(v, H, G) ** 2).sum())(variables)
  assert all(np.any(g) for g in jax.tree.leaves(grads))
  exported = jax.export.export(jax.jit(model.apply), platforms=["tpu", "cuda"])
  assert exported(variables, jnp.asarray(H), jnp.asarray(G)).mlir_module_serialized
