import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.measure import count
from vidx.nn import features

SOUND = promises.some_input((3, 16, 8, 1))

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def tiny(**fields):
  return vidx.create_model("audio_r50", **{**dict(stages=(1, 1, 1), width=8, num_classes=3), **fields})


def shape(*s):
  return jax.ShapeDtypeStruct(s, jnp.float32)


@pytest.mark.parametrize("fields, mels, params, gmacs", [
    (dict(num_classes=0), 80, 23_622_656, 14.23), (dict(width=32, tf_stages=2, num_classes=0), 80, 6_124_032, 4.022),
    (dict(width=32, tf_stages=2, num_classes=0), 40, 6_124_032, 2.011),
])
def test_parameters_and_products_are_the_published_ones(fields, mels, params, gmacs):
  counts = count(vidx.create_model("audio_r50", **fields), shape(1, 128, mels, 1), shape(1))
  assert counts.params == params and counts.macs / 1e9 == pytest.approx(gmacs, abs=6e-4 if gmacs < 10 else 6e-3)


def test_stage_shapes_are_those_of_the_paper():
  model, sound = vidx.create_model("audio_r50", width=32, tf_stages=2), shape(1, 128, 80, 1)
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), sound)
  found = [jax.eval_shape(lambda v, x, s=s: features(model, v, x, site=s), variables, sound).shape[2:]
           for s in ("stem", "res2", "res3", "res4", "res5")]
  assert found == [(128, 80, 32), (128, 80, 128), (64, 40, 256), (32, 20, 512), (16, 10, 1024)]


@pytest.mark.parametrize("form", ["tf_v1", "tf_v2", "plain"])
def test_forms_run_and_keep_examples_apart_and_reach_every_parameter(form):
  model = tiny(audio_block=form, tf_stages=2, dropout=0.0, dtype=jnp.bfloat16)
  for path, live in promises.has_finite_gradients(model, SOUND):
    assert live, path
  promises.keeps_examples_apart(tiny(audio_block=form, tf_stages=2), SOUND)


def test_a_block_sees_time_and_frequency_apart():
  model = tiny(stages=(1,), tf_stages=1, strides=(1,), num_classes=0, zero_init=False)
  x = jnp.zeros((1, 17, 17, 1))
  variables = promises.some_variables(model, x)
  stem = lambda x: features(model, variables, x, site="stem")
  moved = np.abs(np.asarray(stem(x.at[0, 8, 8, 0].set(1.0)) - stem(x)))[0, 0].max(-1) > 0
  assert not moved[7, 7] and moved[8].any() and moved[:, 8].any()
  assert not moved[np.ix_([i for i in range(17) if i != 8], [j for j in range(17) if j != 8])].any()


def test_examples_without_sound_are_zeros_and_change_no_statistics():
  model = tiny(zero_init=False)
  variables = promises.some_variables(model, SOUND, jnp.ones(3))
  valid = jnp.asarray([1.0, 0, -1])
  out = promises.jitted(model)(variables, SOUND, valid)
  assert not out["features"][1:].any() and out["features"][0].any()
  train = lambda x, v: model.apply(variables, x, v, train=True, mutable=["batch_stats"],
                                   rngs={"dropout": jax.random.PRNGKey(0)})[1]
  alone, beside = train(SOUND[:1], jnp.ones(1)), train(SOUND, valid)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), alone, beside)


def test_blocks_can_be_plugged_in_and_evaluation_lowers():
  promises.identities_change_nothing(tiny, SOUND)
  promises.visits_every_site(tiny(), SOUND)
  promises.lowers_for_accelerators(tiny(dtype=jnp.bfloat16), SOUND)


def test_fields_without_sense_are_refused():
  with pytest.raises(errors.ConfigError, match="audio_block"):
    tiny(audio_block="tf_v3")
  with pytest.raises(errors.ConfigError, match="strides names 2"):
    tiny(strides=(1, 2))
