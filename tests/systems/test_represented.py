import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.nn import MotionBandPass
from vidx.systems.represented import REPRESENTATIONS

TINY = dict(num_classes=3, trunk="tsm", stages=(1, 1), width=8)


def test_rgb_is_the_trunk_on_the_middle_frames():
  x = promises.some_input((2, 12, 16, 16, 3))
  model = vidx.create_model("represented", consecutive=3, **TINY)
  trunk = vidx.create_model("tsm", num_classes=3, stages=(1, 1), width=8, trunk="resnet_50")
  variables = promises.some_variables(model, x)
  inner = {k: v["trunk"] for k, v in variables.items()}
  np.testing.assert_array_equal(promises.jitted(model)(variables, x)["logits"],
                                promises.jitted(trunk)(inner, np.asarray(x)[:, 1::3])["logits"])


@pytest.mark.parametrize("name", ["rgb", "rgb_difference", "band_pass"])
def test_both_layouts_and_every_representation_score(name):
  d = REPRESENTATIONS[name][1]
  x = np.asarray(promises.some_input((2, 2, d, 16, 16, 3)))
  model = vidx.create_model("represented", representation=name, **TINY)
  variables = promises.some_variables(model, x)
  run = promises.jitted(model)
  out = run(variables, x)
  assert out["logits"].shape == (2, 3) and set(out) == {"logits", "features"}
  np.testing.assert_allclose(run(variables, x.reshape(2, 2 * d, 16, 16, 3))["logits"], out["logits"])


def test_dynamic_appearance_is_trained_jointly_as_a_dan():
  model = vidx.create_model("represented", representation="appearance", image=dict(stride=4, kernel=5), **TINY)
  dan = vidx.create_model("dan", consecutive=6, projection=dict(stride=4, kernel=5), **TINY)
  assert repr(model) == repr(dan)
  out = jax.eval_shape(lambda x: model.init_with_output(jax.random.PRNGKey(0), x)[0],
                       jax.ShapeDtypeStruct((2, 12, 16, 16, 3), jnp.float32))
  assert out["losses"]["enopr"].shape == (2,)


def test_mbpm_is_the_band_pass_in_front_of_the_trunk():
  x = promises.some_input((2, 6, 16, 16, 3))
  model = vidx.create_model("mbpm", image=dict(size=5, sigma=0.9), **TINY)
  assert model.image == MotionBandPass(5, 0.9)
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), x)
  out, state = jax.jit(lambda v, x: model.apply(v, x, mutable=["maps"]))(variables, x)
  trunk = {k: v["trunk"] for k, v in variables.items() if "trunk" in v}
  behind = promises.jitted(model.trunk)(trunk, state["maps"]["image"]["band_pass"][-1])
  np.testing.assert_allclose(behind["logits"], out["logits"], rtol=1e-4, atol=1e-6)


def test_the_channels_of_a_precomputed_flow_are_those_of_the_first_kernel():
  shapes = jax.eval_shape(vidx.create_model("tsm_r50", num_classes=3).init, jax.random.PRNGKey(0),
                          jnp.zeros((1, 2, 32, 32, 10)))
  assert shapes["params"]["stem"]["conv"]["conv"]["kernel"].shape == (7, 7, 10, 64)


@pytest.mark.parametrize("fields, words", [
    (dict(representation="rbg"), ["rbg", "nearest: 'rgb'"]),
    (dict(representation="band_pass", image=dict(sizes=3)), ["image", "sizes"]),
    (dict(widht=3), ["no field 'widht'", "nearest: 'width'"])])
def test_wrong_fields_are_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model("represented", **{**TINY, **fields})
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
