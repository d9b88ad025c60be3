import functools

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx.backbones.densenet import halve
from vidx.measure import count
from vidx.nn import sites

CLIP = promises.some_input((2, 9, 32, 32, 3))
SMALL = dict(num_classes=3, layers=(2, 1, 2), growth=4, width=8, bottleneck=2)
HARA = dict(stem_frames=7, stem_stride=1)

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def make(**more):
  return vidx.create_model("densenet3d_121", **{**SMALL, **more})


def parameters_by_hand(layers, growth, width, stem_frames, classes):
  total = 3 * width * stem_frames * 49 + 2 * width
  for i, count_of in enumerate(layers):
    for _ in range(count_of):
      total += 2 * width + width * 4 * growth + 2 * 4 * growth + 4 * growth * growth * 27
      width += growth
    if i < len(layers) - 1:
      total += 2 * width + width * (width // 2)
      width //= 2
  return total + 2 * width + (width + 1) * classes


@pytest.mark.parametrize("name, fields, by_hand, params, gmacs", [
    ("densenet3d_121", {}, ((6, 12, 24, 16), 32, 64, 3), 11_658_896, 4.273),
    ("densenet3d_121", HARA, ((6, 12, 24, 16), 32, 64, 7), 11_696_528, 10.40),
    ("densenet3d_161", {}, ((6, 12, 36, 24), 48, 96, 3), 40_323_088, 9.54),
])
def test_parameters_are_exact_and_products_as_published(name, fields, by_hand, params, gmacs):
  counts = count(vidx.create_model(name, **fields), jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32))
  assert counts.params == parameters_by_hand(*by_hand, 400) == params
  assert counts.macs / 1e9 == pytest.approx(gmacs, rel=5e-3)


def all_sites(model, variables, clip):
  """What leaves every site, by module."""
  keep = dict(capture_intermediates=lambda module, _: isinstance(module, sites.Site), mutable=["intermediates"])
  seen = model.apply(variables, clip, **keep)[1]["intermediates"]
  return {"/".join(path[:-1]): value[0][0] for path, value in traverse_util.flatten_dict(seen).items()}


def test_dense_blocks_of_sixteen_frames_end_on_the_published_grids():
  model, clip = vidx.create_model("densenet3d_121"), jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32)
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), clip)
  seen = jax.eval_shape(functools.partial(all_sites, model), variables, clip)
  for place, shape in {"stem/at_end": (4, 28, 28, 64), "block1/at_stage": (4, 28, 28, 256),
                       "block2/at_stage": (2, 14, 14, 512), "block3/at_stage": (1, 7, 7, 1024),
                       "transition3/at_end": (1, 3, 3, 512), "last/at_end": (1, 3, 3, 1024)}.items():
    assert seen[place].shape[1:] == shape, place


def test_sites_are_passed_in_order_and_identities_change_nothing():
  promises.visits_every_site(make(), CLIP)
  promises.identities_change_nothing(make, CLIP)


def test_examples_do_not_depend_on_their_batch():
  promises.keeps_examples_apart(make(), CLIP, "logits")


def test_gradients_in_half_precision_reach_every_parameter():
  gradients = dict(promises.has_finite_gradients(make(dtype=jnp.bfloat16, layer_dropout=0.2), CLIP))
  assert all(gradients.values()), [path for path, alive in gradients.items() if not alive]


def test_lowers_for_accelerators():
  promises.lowers_for_accelerators(make(dtype=jnp.bfloat16), CLIP)


@pytest.mark.parametrize("fields", [{}, HARA], ids=["stride", "hara"])
@pytest.mark.parametrize("frames", [1, 3, 6])
def test_a_masked_clip_equals_the_shorter_one(fields, frames):
  model = make(**fields)
  variables = promises.some_variables(model, CLIP)
  mask = jnp.asarray([[t < frames for t in range(9)], [True] * 9], jnp.float32)
  masked = promises.jitted(model)(variables, CLIP * mask[:, :, None, None, None], mask=mask)["logits"]
  short = promises.jitted(model)(variables, CLIP[:, :frames])["logits"]
  np.testing.assert_allclose(masked[0], short[0], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(masked[1], promises.jitted(model)(variables, CLIP)["logits"][1], rtol=1e-4, atol=1e-5)


def test_every_layer_passes_on_all_channels_and_adds_its_own():
  model = make()
  variables = promises.some_variables(model, CLIP)
  seen = jax.jit(functools.partial(all_sites, model))(variables, CLIP)
  before, added, after = (seen[f"block1_1/at_{part}"] for part in ("in", "residual", "out"))
  np.testing.assert_array_equal(after, np.concatenate([before, added], -1))
  np.testing.assert_array_equal(seen["block1/at_stage"], after)


@pytest.mark.parametrize("live", range(1, 8))
def test_halving_averages_pairs_of_live_frames(live):
  x = np.random.default_rng(0).normal(size=(1, 7, 5, 4, 2)).astype("f")
  mask = np.arange(7)[None] < live
  y, out = halve(jnp.asarray(x * mask[:, :, None, None, None]), jnp.asarray(mask, jnp.float32))
  pairs = max(1, live // 2)
  assert y.shape == (1, 3, 2, 2, 2) and out.sum() == pairs and not y[:, pairs:].any()
  for t in range(pairs):
    frames = x[0, 2 * t:min(2 * t + 2, live)]
    for i in range(2):
      for j in range(2):
        np.testing.assert_allclose(y[0, t, i, j], frames[:, 2 * i:2 * i + 2, 2 * j:2 * j + 2].mean((0, 1, 2)),
                                   rtol=1e-5, atol=1e-6)


def test_an_axis_of_one_entry_is_not_halved():
  x = jnp.arange(8.0).reshape(1, 1, 1, 4, 2)
  np.testing.assert_allclose(halve(x)[0], x.reshape(1, 1, 1, 2, 2, 2).mean(4))
