import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.backbones import table
from vidx.backbones.inception import Gate
from vidx.nn.pool import windows
from vidx.measure import count
from vidx.nn import features

# name: (parameters, GMACs) for the published classes and input
SIZES = {"bn_inception": (11_295_240, 2.033), "inception_v1": (6_624_904, 1.498), "i3d": (12_697_264, 111.15),
         "s3d": (8_320_048, 17.98)}

_BLOCK = (4, (4, 6), (2, 4), ("max", 2))
_HALVING = (((4, (4, 6), (2, 4, 4), ("avg", 2)), (0, (4, 6), (2, 4, 4), ("max", 0))),)
_BETWEEN_POOLS = dict(stages=((), (_BLOCK,), ()), widths=(4, 4, 6), num_classes=3)

# name: (fields of a small one, input)
TINY = {
    "bn_inception": (dict(stages=_HALVING, widths=(4, 4, 6), num_classes=3), (2, 2, 32, 32, 3)),
    "inception_v1": (_BETWEEN_POOLS, (2, 2, 33, 32, 3)),
    "i3d": (_BETWEEN_POOLS, (2, 11, 18, 17, 3)),
    "s3d": (dict(gating=True, **_BETWEEN_POOLS), (2, 16, 32, 32, 3)),
}

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def small(name, **more):
  return vidx.create_model(name, **TINY[name][0], **more)


@pytest.fixture(scope="module", params=TINY)
def kind(request):
  """(make, clip)"""
  return lambda **more: small(request.param, **more), promises.some_input(TINY[request.param][1])


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_exact_and_products_as_published(name):
  counts = count(vidx.create_model(name), *(jax.ShapeDtypeStruct(s, jnp.float32) for s in table.ROWS[name].inputs))
  params, gmacs = SIZES[name]
  assert counts.params == params
  assert counts.macs / 1e9 == pytest.approx(gmacs, rel=5e-3)


def test_i3d_of_flow_is_as_large_as_published():
  counts = count(vidx.create_model("i3d"), jax.ShapeDtypeStruct((1, 64, 224, 224, 2), jnp.float32))
  assert counts.params == 12_675_312
  assert counts.macs / 1e9 == pytest.approx(102.34, rel=5e-3)


@pytest.mark.parametrize("name, shape, grids", [
    ("bn_inception", (224, 224), {"stem": (56, 56), "mixed3.0.in": (28, 28), "mixed3.1.out": (14, 14)}),
    ("inception_v1", (225, 200), {"stem": (56, 50), "conv2": (28, 25), "pool3": (14, 12), "pool4": (7, 6)}),
    ("i3d", (63, 224, 225), {"stem": (32, 56, 57), "pool3": (16, 14, 15), "pool4": (8, 7, 8)}),
    ("s3d", (63, 224, 225), {"stem": (32, 56, 57), "pool3": (16, 14, 15), "pool4": (8, 7, 7)}),
])
def test_grids_are_as_published(name, shape, grids):
  model, x = small(name), jax.ShapeDtypeStruct((1, *shape, 3), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), x)
  for site, grid in grids.items():
    y = jax.eval_shape(lambda v, x: features(model, v, x, site=site), variables, x)
    assert y.shape[4 - len(grid):4] == grid, site


def test_sites_are_passed_in_order_and_identities_change_nothing(kind):
  make, clip = kind
  promises.visits_every_site(make(), clip)
  promises.identities_change_nothing(make, clip)


def test_examples_do_not_depend_on_their_batch(kind):
  make, clip = kind
  promises.keeps_examples_apart(make(), clip, "logits")


def test_gradients_in_half_precision_reach_every_parameter(kind):
  make, clip = kind
  gradients = dict(promises.has_finite_gradients(make(dtype=jnp.bfloat16), clip))
  dead = [path for path, alive in gradients.items() if not alive]
  assert not [path for path in dead if not path.endswith("conv/bias")], dead  # normalisation takes that bias away


def test_lowers_for_accelerators(kind):
  make, clip = kind
  promises.lowers_for_accelerators(make(dtype=jnp.bfloat16), clip)


@pytest.mark.parametrize("name", ["bn_inception", "inception_v1"])
def test_frames_are_averaged_and_dead_ones_left_out(name):
  model, clip = small(name), promises.some_input((2, 3, *TINY[name][1][2:]))
  variables = promises.some_variables(model, clip)
  frames = [promises.jitted(model)(variables, clip[:, t])["logits"] for t in range(3)]
  live = promises.jitted(model)(variables, clip, mask=jnp.asarray([[1.0, 1, 1], [1, 1, 0]]))["logits"]
  np.testing.assert_allclose(live[0], sum(f[0] for f in frames) / 3, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(live[1], (frames[0][1] + frames[1][1]) / 2, rtol=1e-4, atol=1e-5)


def negative(x):
  """A block after which a maximum is not that with zeros."""
  return x - 3.0


@pytest.mark.parametrize("name, frames", [("i3d", 2), ("i3d", 7), ("i3d", 8), ("s3d", 13)])
def test_a_masked_clip_equals_the_shorter_one(name, frames):
  shape = TINY[name][1]
  model, clip = small(name, sites={"mixed*.in": negative, "stem": negative}), promises.some_input(shape)
  variables = promises.some_variables(model, clip)
  mask = jnp.asarray([[t < frames for t in range(shape[1])], [True] * shape[1]], jnp.float32)
  run = promises.jitted(model)
  masked, short, whole = run(variables, clip, mask=mask), run(variables, clip[:1, :frames]), run(variables, clip)
  for key in ("logits", "features"):
    np.testing.assert_allclose(masked[key][0], short[key][0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(masked[key][1], whole[key][1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape, window", [((1, 5, 3, 4, 2), (2, 2, 3)), ((1, 1, 3, 4, 2), (2, 7, 7)),
                                           ((1, 4, 8, 7, 2), (2, 7, 7))])
def test_the_mean_over_windows_equals_the_loop(shape, window):
  x = promises.some_input(shape)
  y, _ = windows(x, None, window)
  window = [min(k, n) for k, n in zip(window, shape[1:4])]
  for at in np.ndindex(y.shape[1:4]):
    part = x[(slice(None), *(slice(a, a + k) for a, k in zip(at, window)))]
    np.testing.assert_allclose(y[(slice(None), *at)], part.mean((1, 2, 3)), rtol=1e-4, atol=1e-6)


def test_the_gate_weighs_channels_by_their_mean():
  x = promises.some_input((2, 3, 4, 5, 6))
  variables = promises.some_variables(Gate(), x)
  w, b = (variables["params"]["fc"][k] for k in ("kernel", "bias"))
  expected = x / (1 + np.exp(-(x.mean((1, 2, 3)) @ w + b)))[:, None, None, None]
  np.testing.assert_allclose(Gate().apply(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_blocks_that_halve_take_images_of_any_size():
  model, x = small("bn_inception"), jax.ShapeDtypeStruct((1, 75, 112, 3), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), x)
  before, after = (jax.eval_shape(lambda v, x: features(model, v, x, site=f"mixed3.1.{part}"), variables, x).shape
                   for part in ("in", "out"))
  assert before[2:4] == (9, 14) and after[2:4] == (5, 7)


def test_clips_that_are_too_short_are_named():
  model = small("s3d")
  with pytest.raises(ValueError, match="too short"):
    jax.eval_shape(model.init, jax.random.PRNGKey(0), jnp.zeros((1, 2, 32, 32, 3)))


@pytest.mark.parametrize("fields, message", [(dict(padding="valid"), "half, ceil, same"),
                                             (dict(pools=(3,)), "need 2 pools"), (dict(separable=True), "of clips")])
def test_fields_that_do_not_fit_are_named(fields, message):
  with pytest.raises(errors.ConfigError, match=message):
    vidx.create_model("inception_v1", **fields)
