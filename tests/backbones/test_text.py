import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx.measure import count

SMALL = dict(vocab=20, positions=10, dim=12, depth=2, heads=3, hidden=24)
small = functools.partial(vidx.create_model, "bert_base", **SMALL)
X = jnp.asarray(np.random.default_rng(0).integers(0, 20, (3, 7)), jnp.int32)


@pytest.mark.parametrize("pooler, params", [(True, 109_482_240), (False, 108_891_648)])
def test_parameters_are_those_published(pooler, params):
  assert count(vidx.create_model("bert_base", pooler=pooler), jax.ShapeDtypeStruct((1, 8), jnp.int32)).params == params


def test_examples_do_not_meet():
  promises.keeps_examples_apart(small(), X)


def test_identities_at_every_site_change_nothing():
  promises.identities_change_nothing(small, X)


def test_sites_are_passed_in_their_order():
  promises.visits_every_site(small(), X)


def test_gradients_are_finite():
  dead = [p for p, alive in promises.has_finite_gradients(small(dtype=jnp.bfloat16, num_classes=4), X) if not alive]
  assert not dead


def test_it_lowers_for_tpu_and_cuda():
  promises.lowers_for_accelerators(small(dtype=jnp.bfloat16), X)


def test_a_masked_text_is_the_shorter_text():
  model = small()
  variables = promises.some_variables(model, X)
  masked = promises.jitted(model)(variables, X, mask=jnp.arange(7)[None] < jnp.full((3, 1), 4))
  short = promises.jitted(model)(variables, X[:, :4])
  np.testing.assert_allclose(masked["features"], short["features"], atol=1e-5)
  np.testing.assert_allclose(masked["tokens"][:, :4], short["tokens"], atol=1e-5)


def test_a_text_that_is_too_long_is_named():
  with pytest.raises(ValueError, match="texts of 11 tokens for 10 positions"):
    jax.eval_shape(small().init, jax.random.PRNGKey(0), jnp.zeros((1, 11), jnp.int32))
