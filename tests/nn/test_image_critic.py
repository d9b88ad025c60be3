import functools

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.measure import count
from vidx.nn import conv
from vidx.nn.image_critic import MultiScaleCritic, halve
from tests.nn.test_image_generator import Evaluated, some


@functools.cache
def counts(channels, scales):
  shape = jax.ShapeDtypeStruct((1, 128, 128, channels), jnp.float32)
  return count(Evaluated(MultiScaleCritic(scales, classes=2233)), shape)


@pytest.mark.parametrize("channels, params, gmacs", [(3, 12_292_218, 0.488), (6, 12_295_290, 0.500)])
def test_scalar_critics_have_their_parameters_and_products(channels, params, gmacs):
  assert counts(channels, 1).params == params
  assert counts(channels, 1).macs / 1e9 == pytest.approx(gmacs, abs=1e-3)


def test_the_smaller_scale_has_a_convolution_less():
  assert counts(3, 2).params - counts(3, 1).params == 8_097_402
  assert (counts(3, 2).macs - counts(3, 1).macs) / 1e9 == pytest.approx(0.109, abs=1e-3)


@pytest.mark.parametrize("side, layers", [(128, (5, 4)), (64, (5, 4)), (63, (4, 4)), (48, (4, 3)), (32, (4, 3)),
                                          (16, (3, 2)), (4, (1, 1))])
def test_scores_are_of_the_image_whatever_its_size(side, layers):
  critic, x = MultiScaleCritic(width=2), some(2, side, side, 3)
  with conv.using("native"):
    variables = jax.tree.map(lambda s: some(*s.shape), jax.eval_shape(critic.init, jax.random.PRNGKey(0), x))

    @jax.jit
    def run(x):
      score = lambda x: (lambda out: (sum(o["score"].sum() for o in out), out))(critic.apply(variables, x))
      return jax.value_and_grad(score, has_aux=True)(x)

    (_, out), moved = run(x)
  assert tuple(len(o["features"]) - 1 for o in out) == layers  # beside the hidden layer
  for one in out:
    assert all(min(f.shape[1:3]) >= 2 for f in one["features"][1:-1]) and abs(one["score"][0] - one["score"][1]) > 1e-3
  assert np.isfinite(moved).all() and moved.any((1, 2, 3)).all()


def test_halving_counts_no_padding():
  np.testing.assert_allclose(halve(jnp.ones((1, 6, 7, 2))), np.ones((1, 3, 4, 2)))
  x = some(1, 4, 4, 1)
  np.testing.assert_allclose(halve(x)[0, 0, 0, 0], x[0, :2, :2, 0].mean(), rtol=1e-6)
  np.testing.assert_allclose(halve(x)[0, 1, 1, 0], x[0, 1:4, 1:4, 0].mean(), rtol=1e-6)


@pytest.mark.parametrize("patches", [False, True])
def test_critics_score_every_image_alone_and_lower(patches):
  critic, x = MultiScaleCritic(2 - patches, patches, 4, classes=5, dtype=jnp.bfloat16), some(2, 64, 64, 3)
  with conv.using("native"):
    variables = jax.tree.map(lambda s: some(*s.shape) * 0.1, jax.eval_shape(critic.init, jax.random.PRNGKey(0), x))

    @jax.jit
    def run(variables, x):
      total = lambda v: (lambda out: (sum((o["score"] ** 2).sum() + (o["classes"] ** 2).sum() for o in out), out))(
          critic.apply(v, x))
      return jax.value_and_grad(total, has_aux=True)(variables)

    ((_, out), grads), ((_, changed), _) = run(variables, x), run(variables, x.at[1:].set(0))
    for one, other in zip(out, changed):
      assert one["score"].dtype == one["classes"].dtype == jnp.float32 and one["classes"].shape == (2, 5)
      assert (one["score"].shape[1] > 1) == patches
      np.testing.assert_allclose(one["score"][0], other["score"][0], rtol=1e-2, atol=1e-5)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
      assert np.isfinite(grad).all() and (grad.any() or path[-1].key == "bias"), path
    f = jax.jit(lambda v, x: critic.apply(v, x))
    assert export.export(f, platforms=["tpu", "cuda"])(variables, x).mlir_module_serialized


def test_without_classes_there_is_no_such_head():
  critic, x = MultiScaleCritic(1, width=4), some(1, 32, 32, 3)
  assert set(jax.eval_shape(critic.init_with_output, jax.random.PRNGKey(0), x)[0][0]) == {"score", "features"}
