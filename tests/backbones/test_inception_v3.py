import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx.measure import count

CLIP = promises.some_input((2, 2, 75, 75, 3))

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def make(**more):
  return vidx.create_model("inception_v3", **{"num_classes": 3, "width_multiplier": 1 / 32, **more})


@functools.cache
def counts(**fields):
  return count(vidx.create_model("inception_v3", **fields), jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32))


def test_parameters_are_exact_and_products_as_published():
  assert counts(num_classes=1000).params == 23_834_568
  assert counts(num_classes=1000).macs / 1e9 == pytest.approx(5.713, rel=5e-4)
  assert counts().params == 23_834_568 + 8 * 2049


def test_sites_are_passed_in_order_and_identities_change_nothing():
  promises.visits_every_site(make(), CLIP)
  promises.identities_change_nothing(make, CLIP)


def test_examples_do_not_depend_on_their_batch():
  promises.keeps_examples_apart(make(), CLIP, "logits")


def test_gradients_in_half_precision_reach_every_parameter():
  gradients = dict(promises.has_finite_gradients(make(dtype=jnp.bfloat16), CLIP))
  assert all(gradients.values()), [path for path, alive in gradients.items() if not alive]


def test_lowers_for_accelerators():
  promises.lowers_for_accelerators(make(dtype=jnp.bfloat16), CLIP)


def test_the_forms_differ_in_their_pools_alone():
  one, other = make(), make(form="torchvision")
  variables = promises.some_variables(one, CLIP)
  assert jax.tree.structure(variables) == jax.tree.structure(promises.some_variables(other, CLIP))
  a, b = (promises.jitted(m)(variables, CLIP)["features"] for m in (one, other))
  assert not np.allclose(a, b)
