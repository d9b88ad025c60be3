import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.backbones import table
from vidx.backbones.shufflenet import shuffle
from vidx.backbones.vgg import adaptive_mean
from vidx.measure import count
from vidx.nn import sites

# name: (parameters, GMACs) for the published classes and input
SIZES = {
    "mobilenet_v2": (3_504_872, 0.301), "shufflenet_v2": (2_278_604, 0.145), "vgg16": (138_357_544, 15.47),
    "c3d": (79_991_015, 38.55), "vgg19": (143_667_240, 19.63), "alexnet": (61_100_840, 0.714),
}

# name: (fields of a small one, input)
TINY = {
    "mobilenet_v2": (dict(stages=((1, 4, 1, 1), (2, 8, 2, 2)), width=4, last=12), (2, 2, 16, 16, 3)),
    "shufflenet_v2": (dict(stages=(2,), widths=(4, 8, 12)), (2, 2, 16, 16, 3)),
    "vgg16": (dict(widths=((4, 4), (8,)), hidden=(12, 10), grid=3), (2, 2, 8, 8, 3)),
    "alexnet": (dict(widths=(4, 6, 8, 6, 6), hidden=(12, 10), grid=2), (2, 2, 63, 63, 3)),
    "c3d": (dict(widths=((4,), (6,), (8, 8)), hidden=(12, 10)), (2, 4, 8, 8, 3)),
}

pytestmark = pytest.mark.usefixtures("plain_convolutions")


@pytest.fixture(scope="module", params=TINY)
def kind(request):
  """(make, clip)"""
  fields, shape = TINY[request.param]
  return (lambda **more: vidx.create_model(request.param, num_classes=3, **fields, **more)), promises.some_input(shape)


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_exact_and_products_as_published(name):
  counts = count(vidx.create_model(name), *(jax.ShapeDtypeStruct(s, jnp.float32) for s in table.ROWS[name].inputs))
  params, gmacs = SIZES[name]
  assert counts.params == params
  assert counts.macs / 1e9 == pytest.approx(gmacs, rel=5e-3)


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
  assert all(gradients.values()), [path for path, alive in gradients.items() if not alive]


def test_lowers_for_accelerators(kind):
  make, clip = kind
  promises.lowers_for_accelerators(make(dtype=jnp.bfloat16), clip)


@pytest.mark.parametrize("name, field", [("alexnet", "widths"), ("inception_v3", "form")])
def test_wrong_fields_are_an_error(name, field):
  with pytest.raises(errors.ConfigError, match=field):
    vidx.create_model(name, **{field: "other" if field == "form" else (4, 4)})


def test_several_sites_are_tapped_in_one_pass():
  model, clip = vidx.create_model("alexnet", num_classes=3, **TINY["alexnet"][0]), promises.some_input((2, 1, 63, 63, 3))
  variables = promises.some_variables(model, clip)
  outputs, found = sites.taps(model, variables, clip, sites=("pool2", "pool5"))
  assert outputs["features"].shape == (2, 10)
  assert {k: v.shape for k, v in found.items()} == {"pool2": (2, 1, 3, 3, 6), "pool5": (2, 1, 1, 1, 6)}
  for site, x in found.items():
    np.testing.assert_array_equal(x, sites.features(model, variables, clip, site=site))
  np.testing.assert_allclose(outputs["logits"], promises.jitted(model)(variables, clip)["logits"], rtol=1e-4, atol=1e-5)


def test_shuffling_interleaves_the_halves():
  np.testing.assert_array_equal(shuffle(jnp.arange(6)), [0, 3, 1, 4, 2, 5])


@pytest.mark.parametrize("side, size", [(3, 7), (10, 4), (14, 7)])
def test_adaptive_means_equal_the_loop(side, size):
  x = np.random.default_rng(0).normal(size=(1, 1, side, side, 2)).astype("f")
  y = adaptive_mean(jnp.asarray(x), size)
  for i in range(size):
    for j in range(size):
      window = x[0, 0, i * side // size:-(-(i + 1) * side // size), j * side // size:-(-(j + 1) * side // size)]
      np.testing.assert_allclose(y[0, 0, i, j], window.mean((0, 1)), rtol=1e-4, atol=1e-6)


def image_kinds():
  return [n for n in TINY if table.ROWS[n].inputs[0][1:2] == (224,)]


@pytest.mark.parametrize("name", image_kinds())
def test_frames_are_averaged_and_dead_ones_left_out(name):
  fields, shape = TINY[name]
  model, clip = vidx.create_model(name, num_classes=3, **fields), promises.some_input((2, 3, *shape[2:]))
  variables = promises.some_variables(model, clip)
  frames = [promises.jitted(model)(variables, clip[:, t])["logits"] for t in range(3)]
  live = promises.jitted(model)(variables, clip, mask=jnp.asarray([[1.0, 1, 1], [1, 1, 0]]))["logits"]
  np.testing.assert_allclose(live[0], sum(f[0] for f in frames) / 3, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(live[1], (frames[0][1] + frames[1][1]) / 2, rtol=1e-4, atol=1e-5)
