import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx.measure import count
from vidx.nn.temporal_shift import temporal_shift

SMALL = dict(image=32, patch=8, dim=24, depth=2, heads=3, num_classes=5)
FIELDS = {
    "deit_ti": {}, "timesformer_b": dict(frames=3), "timesformer_joint": dict(frames=3), "timesformer_space": {},
    "xvit_b16": dict(frames=4, shift_frames=2, dropout=0.0),
}
FRAMES = {"xvit_b16": 4}
EVERY = pytest.mark.parametrize("name", list(FIELDS))
FEW = pytest.mark.parametrize("name", ["timesformer_b", "xvit_b16"])


def small(name, **fields):
  return vidx.create_model(name, **{**SMALL, **FIELDS[name], **fields})


def clips(name, batch=2, seed=0):
  return promises.some_input((batch, FRAMES.get(name, 3), 32, 32, 3), seed)


@pytest.mark.parametrize("name, classes, inputs, params, gmacs", [
    ("deit_ti", 1000, (1, 224, 224, 3), 5_717_416, 1.2537),
    ("deit_s", 1000, (1, 224, 224, 3), 22_050_664, 4.5989),
    ("deit_b", 1000, (1, 224, 224, 3), 86_567_656, 17.5638),
    ("vit_b16_384", 1000, (1, 384, 384, 3), 86_859_496, 55.48),
    ("vit_l16", 1000, (1, 224, 224, 3), 304_326_632, 61.55),
    ("timesformer_b", 400, (1, 8, 224, 224, 3), 121_566_352, 195.83),
    ("timesformer_l", 400, (1, 96, 224, 224, 3), 121_633_936, 2379.9),
    ("timesformer_hr", 400, (1, 16, 448, 448, 3), 122_024_080, 1702.7),
    ("timesformer_joint", 400, (1, 8, 224, 224, 3), 86_112_400, 179.56),
    ("timesformer_space", 400, (1, 8, 224, 224, 3), 86_106_256, 140.5),
    ("xvit_b16", 400, (1, 16, 224, 224, 3), 93_797_008, 281.1),
])
def test_parameters_and_products_are_those_published(name, classes, inputs, params, gmacs):
  counts = count(vidx.create_model(name, num_classes=classes), jax.ShapeDtypeStruct(inputs, jnp.float32))
  assert counts.params == params
  assert abs(counts.macs / 1e9 - gmacs) < 1e-3 * gmacs


@FEW
def test_examples_do_not_meet(name):
  promises.keeps_examples_apart(small(name), clips(name))


@EVERY
def test_identities_at_every_site_change_nothing(name):
  promises.identities_change_nothing(functools.partial(small, name), clips(name))


@EVERY
def test_sites_are_passed_in_their_order(name):
  promises.visits_every_site(small(name), clips(name))


@FEW
def test_gradients_are_finite_and_reach_every_parameter(name):
  model = small(name, dtype=jnp.bfloat16, drop_path=0.1)
  dead = [path for path, alive in promises.has_finite_gradients(model, clips(name)) if not alive]
  assert not dead


@FEW
def test_it_lowers_for_tpu_and_cuda(name):
  promises.lowers_for_accelerators(small(name, dtype=jnp.bfloat16), clips(name))


@FEW
def test_half_precision_is_near_single(name):
  x = clips(name)
  model = small(name)
  variables = promises.some_variables(model, x)
  full = promises.jitted(model)(variables, x)["features"]
  half = promises.jitted(small(name, dtype=jnp.bfloat16))(variables, x)["features"]
  assert half.dtype == jnp.float32
  assert np.abs(half - full).max() < 0.1 * np.abs(full).max()


@EVERY
def test_dead_patches_reach_nothing(name):
  x = clips(name)
  model = small(name)
  variables = promises.some_variables(model, x)
  live = np.random.default_rng(0).random((*x.shape[:2], 16)) < 0.5
  pixels = np.repeat(np.repeat(live.reshape(*x.shape[:2], 4, 4), 8, 2), 8, 3)[..., None]
  run = lambda x: promises.jitted(model)(variables, x, mask=jnp.asarray(live))
  a, b = run(x), run(jnp.where(pixels, x, 100.0))
  np.testing.assert_allclose(a["logits"], b["logits"], rtol=1e-5, atol=1e-5)
  assert np.abs(a["logits"] - run(jnp.where(pixels, 2 * x, x))["logits"]).max() > 1e-3


@FEW
def test_a_mask_of_ones_changes_nothing(name):
  x = clips(name)
  model = small(name)
  variables = promises.some_variables(model, x)
  plain = promises.jitted(model)(variables, x)["logits"]
  for mask in (jnp.ones(x.shape[:2]), jnp.ones((*x.shape[:2], 16), bool)):
    np.testing.assert_allclose(promises.jitted(model)(variables, x, mask=mask)["logits"], plain, atol=1e-5)


@pytest.mark.parametrize("name", ["deit_ti", "timesformer_b", "timesformer_joint", "timesformer_space"])
def test_dead_frames_are_as_if_they_were_not_there(name):
  # with their own positions in time, the shorter clip's times are the first of the longer one's
  x = clips(name)
  long, short = small(name), small(name, **(dict(frames=2) if FIELDS[name].get("frames") else {}))
  variables = promises.some_variables(long, x)
  cut = jax.tree.map(lambda a: a, variables)
  if FIELDS[name].get("frames"):
    cut["params"]["embed"]["times"] = cut["params"]["embed"]["times"][:, :2]
  masked = promises.jitted(long)(variables, x, mask=jnp.array([[1, 1, 0]] * 2))
  np.testing.assert_allclose(masked["logits"], promises.jitted(short)(cut, x[:, :2])["logits"], rtol=2e-5, atol=2e-5)


def test_an_image_is_a_clip_of_one_frame_and_frames_are_averaged():
  x = clips("deit_ti")
  model = small("deit_ti")
  variables = promises.some_variables(model, x)
  frames = [promises.jitted(model)(variables, x[:, t])["logits"] for t in range(3)]
  np.testing.assert_allclose(promises.jitted(model)(variables, x)["logits"], np.mean(frames, 0), atol=1e-5)


def test_divided_attention_with_zero_temporal_output_on_one_frame_is_the_image_model():
  x = clips("deit_ti")[:, :1]
  divided, image = small("timesformer_b", frames=1), small("deit_ti", frames=1)
  variables = jax.jit(divided.init)(jax.random.PRNGKey(0), x)
  plain = promises.some_variables(image, x)
  for i in range(2):
    block = variables["params"][f"block{i}"]
    assert not np.any(block["temporal_fc"]["kernel"])
    block.update(plain["params"][f"block{i}"])
  variables["params"].update({k: plain["params"][k] for k in ("norm", "head")})
  variables["params"]["embed"] = {**plain["params"]["embed"], "times": jnp.zeros((1, 1, 24))}
  plain["params"]["embed"]["times"] = jnp.zeros((1, 1, 24))
  np.testing.assert_allclose(
      promises.jitted(divided)(variables, x)["logits"],
      promises.jitted(image)(plain, x)["logits"], atol=1e-5)


def test_shifted_keys_are_the_temporal_shift_in_parts_of_the_clip():
  from vidx.nn.attention import Heads
  from vidx.nn.space_time import shift_keys
  q, k, v = (promises.some_input((2, 4, 5, 2, 8), seed) for seed in range(3))
  out = shift_keys(1 / 8, 2)(Heads(q, k, v))
  np.testing.assert_array_equal(out.q, q)
  for part in (slice(0, 2), slice(2, 4)):
    expected = temporal_shift(k[:, part].reshape(2, 2, 5, 1, 16)).reshape(2, 2, 5, 2, 8)
    np.testing.assert_array_equal(out.k[:, part], expected)
  with pytest.raises(ValueError, match="4 frames do not divide into parts of 3"):
    shift_keys(1 / 8, 3)(Heads(q, k, v))


def test_recomputed_and_chunked_blocks_give_the_same_loss_and_gradients():
  x = clips("timesformer_b")
  plain = small("timesformer_b", depth=1)
  variables = promises.some_variables(plain, x)
  grad = lambda model: jax.jit(jax.grad(lambda v: (model.apply(v, x, train=True)["logits"] ** 2).sum()))(variables)
  expected = jax.tree.leaves(grad(plain))
  for a, b in zip(expected, jax.tree.leaves(grad(small("timesformer_b", depth=1, remat=True, chunk=5)))):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["deit_ti", "timesformer_b", "timesformer_joint"])
def test_a_plug_in_may_drop_tokens_and_dropped_tokens_equal_masked_ones(name):
  """Keeping some rows at one block equals masking the others from the next block on."""
  x = clips(name)
  plain = small(name)
  keep = (0, 2, 3, 7, 12)

  def choose(heads):
    rows = jnp.broadcast_to(jnp.array(keep), (*heads.q.shape[:-3], len(keep)))
    return heads.replace(q=jnp.take_along_axis(heads.q, rows[..., None, None], -3), rows=rows,
                         live=jnp.ones(rows.shape, bool))

  dropping = plain.clone(sites={"block0.heads": lambda x: choose(x)})
  variables = promises.some_variables(plain, x)
  tokens, mask = jax.jit(lambda v, x: dropping.apply(v, x, method="trunk"))(variables, x)
  frames = 3 if plain.attention == "divided" else 1
  assert tokens.shape[2] == 1 + frames * (len(keep) - 1)
  assert mask.shape == tokens.shape[:-1] and bool(mask.all())
  dead = np.ones(1 + (48 if plain.attention == "joint" else 16), bool)
  dead[list(keep)] = False
  dead = np.concatenate([dead[:1], np.tile(dead[1:], frames)])  # the same places in every frame
  masking = plain.clone(sites={"block1.in": lambda x, mask=None: (
      x, jnp.broadcast_to(~dead, x.shape[:-1]))})
  expected = promises.jitted(masking)(variables, x)["logits"]
  np.testing.assert_allclose(promises.jitted(dropping)(variables, x)["logits"], expected, atol=1e-5)


def test_wrong_sizes_are_named_with_the_field_to_set():
  with pytest.raises(ValueError, match="set the field image"):
    jax.eval_shape(small("deit_ti").init, jax.random.PRNGKey(0), jnp.zeros((1, 40, 32, 3)))
  with pytest.raises(ValueError, match="clips of 2 frames for 3 times: set the field frames"):
    jax.eval_shape(small("timesformer_b").init, jax.random.PRNGKey(0), jnp.zeros((1, 2, 32, 32, 3)))
  with pytest.raises(ValueError, match="attention = 'both' is not one of"):
    jax.eval_shape(small("deit_ti", attention="both").init, jax.random.PRNGKey(0), jnp.zeros((1, 32, 32, 3)))
