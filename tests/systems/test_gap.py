import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors

TINY = dict(trunk="resnet_18", stages=(1, 1), width=8)


@pytest.mark.parametrize("classes", [{"verb": 4, "noun": 6}, {"noun": 6}])
def test_every_target_has_its_classifier_of_the_mean(classes):
  x = promises.some_input((2, 3, 16, 16, 3))
  model = vidx.create_model("gap", num_classes=classes, **TINY)
  variables = promises.some_variables(model, x)
  out = promises.jitted(model)(variables, x)
  for name, count in classes.items():
    p = variables["params"][name]
    assert p["kernel"].shape[-1] == count
    np.testing.assert_allclose(out["logits"][name], out["features"] @ p["kernel"] + p["bias"], atol=1e-5)
  promises.keeps_examples_apart(model, x)
  promises.lowers_for_accelerators(model, x)


def test_two_heads_have_the_parameters_of_two_linear_layers():
  shapes = jax.eval_shape(vidx.create_model("gap").init, jax.random.PRNGKey(0), jnp.zeros((1, 16, 64, 64, 3)))["params"]
  assert sum(p.size for name in ("verb", "noun") for p in jax.tree.leaves(shapes[name])) == 406_925


def test_a_number_of_classes_without_names_is_one_clear_line():
  with pytest.raises(errors.ConfigError, match="num_classes = 5 is not of the form"):
    vidx.create_model("gap", num_classes=5)
