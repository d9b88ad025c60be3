import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx.measure import count

SMALL = dict(dims=(6, 12, 12), depths=(1, 1, 1), heads=(1, 3, 3), num_classes=5)
small = functools.partial(vidx.create_model, "cvt_13", **SMALL)
X = promises.some_input((2, 32, 32, 3))


@pytest.mark.parametrize("name, size, params, gmacs", [
    ("cvt_13", 224, 19_997_480, 4.566), ("cvt_13", 384, 19_997_480, 16.27),
    ("cvt_21", 224, 31_622_696, 7.178), ("cvt_21", 384, 31_622_696, 24.85)])
def test_parameters_and_products_are_those_published(name, size, params, gmacs):
  counts = count(vidx.create_model(name), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
  assert counts.params == params
  assert abs(counts.macs / 1e9 - gmacs) < 0.002 * gmacs


@pytest.mark.parametrize("name, params, gmacs", [("cvt_13", 19.87e6, 4.5), ("cvt_21", 31.42e6, 7.1)])
def test_the_last_stage_may_do_without_convolutions(name, params, gmacs):
  model = vidx.create_model(name, convolved=(True, True, False))
  counts = count(model, jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
  assert abs(counts.params - params) < 1e4
  assert counts.macs / 1e9 > gmacs  # keys and values are no longer strided


def test_examples_do_not_meet():
  promises.keeps_examples_apart(small(), X)


def test_identities_at_every_site_change_nothing():
  promises.identities_change_nothing(small, X)


def test_sites_are_passed_in_their_order():
  promises.visits_every_site(small(), X)


def test_gradients_are_finite_and_reach_every_parameter_but_the_last_queries():
  model = small(dtype=jnp.bfloat16, drop_path=0.1, convolved=(True, False, True))
  dead = [p for p, alive in promises.has_finite_gradients(model, X) if not alive]
  # the head reads the CLS alone, whose query is not convolved
  assert sorted(dead) == [f"block2_0/attn/{p}" for p in ("bn_q/bias", "bn_q/scale", "conv_q/kernel")]


def test_it_lowers_for_tpu_and_cuda():
  promises.lowers_for_accelerators(small(dtype=jnp.bfloat16), X)


def test_dead_pixels_reach_nothing_and_a_mask_of_ones_changes_nothing():
  model = small()
  variables = promises.some_variables(model, X)
  live = np.zeros((2, 32, 32), bool)
  live[0, :16], live[1, 8:24, :20] = True, True
  run = lambda x, mask: promises.jitted(model)(variables, x, mask=jnp.asarray(mask))["logits"]
  a = run(X, live)
  np.testing.assert_allclose(a, run(jnp.where(live[..., None], X, 50.0), live), rtol=1e-5, atol=1e-5)
  assert np.abs(a - run(jnp.where(live[..., None], 2 * X, X), live)).max() > 1e-3
  plain = promises.jitted(model)(variables, X)["logits"]
  np.testing.assert_allclose(run(X, live | True), plain, atol=1e-5)


def test_clips_are_the_mean_of_their_live_frames():
  model = small()
  clip = promises.some_input((2, 3, 32, 32, 3))
  variables = promises.some_variables(model, clip)
  frames = [promises.jitted(model)(variables, clip[:, t])["logits"] for t in range(2)]
  out = promises.jitted(model)(variables, clip, mask=jnp.array([[1, 1, 0]] * 2))["logits"]
  np.testing.assert_allclose(out, np.mean(frames, 0), rtol=1e-5, atol=1e-5)


def test_batch_statistics_are_updated_in_training_and_kept_when_frozen():
  for frozen in ("", "all"):
    model = small(frozen_bn=frozen)
    variables = promises.some_variables(model, X)
    step = jax.jit(lambda v: model.apply(v, X, train=True, mutable=["batch_stats"])[1]["batch_stats"])
    same = jax.tree.map(np.array_equal, step(variables), variables["batch_stats"])
    assert jax.tree.all(same) == bool(frozen)
