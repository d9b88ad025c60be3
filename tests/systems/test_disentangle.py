import functools

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from vidx import errors
from vidx.measure import count
from vidx.systems import perceptual

TINY = dict(width=4, downs=2, blocks=1)
FIELDS = {"disentangle": dict(TINY, critic_width=4, distance="l1", clips=5, pvm_chunk=500),
          "drnet": dict(TINY, critic_width=8),
          "pix2pixhd": dict(TINY, critic_width=4, distance="l1"), "fusion_image": dict(TINY, critic_width=4)}
TERMS = {"disentangle": ({"target", "again", "pixels", "gan_image", "gan_pair", "clip"},
                         {"gan_image", "gan_pair", "clip"}),
         "pix2pixhd": ({"target", "features", "gan_image"}, {"gan_image"}),
         "drnet": ({"again", "content", "confusion"}, {"same"}),
         "fusion_image": ({"cycle", "again", "gan_pair"}, {"gan_pair"})}

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def triplets(size=2, side=32, seed=0):
  rng = np.random.default_rng(seed)
  video = jnp.asarray(rng.uniform(-1, 1, (size, 3, side, side, 3)), jnp.float32)
  return video, jnp.asarray([[0, 1], [2, -1]], jnp.int32)


def drawn(model, *inputs):
  """Variables as they are initialised, in distribution, without a program that does so."""
  rng = np.random.default_rng(0)
  draw = lambda path, x: jnp.asarray(rng.normal(0, 0.02 if path[-1].key == "kernel" else 0.0, x.shape), x.dtype)
  return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(model.init, jax.random.PRNGKey(0), *inputs))


@functools.cache
def made(name, **more):
  model = vidx.create_model(name, **{**FIELDS[name], **more})
  return model, drawn(model, *triplets())


@functools.cache
def shapes(name, **fields):
  model = vidx.create_model(name, **fields)
  tree = jax.eval_shape(model.init, jax.random.PRNGKey(0), jnp.zeros((1, 3, 128, 128, 3)), jnp.zeros((1, 2), jnp.int32))
  size = lambda t: sum(x.size for x in jax.tree.leaves(t))
  return {k: {j: size(u) for j, u in v.items()} for k, v in tree["params"].items()}


def total(parts, *names):
  return sum(sum(parts[n].values()) for n in names)


def test_parameters_are_exact_at_both_widths():
  parts = shapes("disentangle", distance="l1", clips=2233)
  assert total(parts, "identity_encoder") == total(parts, "pose_encoder") == 1_558_656
  assert total(parts, "identity_encoder", "pose_encoder", "decoder") == 175_742_851
  assert parts["critic_image"] == {"scale1": 12_292_218, "scale2": 8_097_402}
  assert parts["critic_pair"]["scale1"] == 12_295_290
  small = shapes("disentangle", distance="l1", width=32)
  assert total(small, "identity_encoder", "pose_encoder", "decoder") == 43_947_971
  for name in ("drnet", "fusion_image"):
    assert total(shapes(name), "identity_encoder", "pose_encoder", "decoder") == 175_742_851


@pytest.mark.parametrize("width, gmacs", [(64, 50.593), (32, 12.764)])
def test_products_of_a_generation_are_as_counted(width, gmacs):
  model = vidx.create_model("disentangle", distance="l1", width=width)
  counts = count(model, jax.ShapeDtypeStruct((1, 3, 128, 128, 3), jnp.float32),
                 jax.ShapeDtypeStruct((1, 2), jnp.int32))
  assert counts.macs / 1e9 == pytest.approx(gmacs, abs=1e-3)


@pytest.mark.parametrize("name", FIELDS)
def test_training_gives_finite_terms_for_both_sides_whose_gradients_reach_their_parameters(name):
  model = vidx.create_model(name, **FIELDS[name])
  video, instances = triplets()
  variables = drawn(model, video, instances)

  @jax.jit
  def run(params):
    out, pull = jax.vjp(lambda p: model.apply({"params": p}, video, instances, train=True), params)
    side = lambda which: {k: jax.tree.map(lambda x: jnp.full_like(x, k == which), v) for k, v in out.items()}
    return out, *(pull(side(which))[0] for which in ("generator", "critic"))

  out, of_generator, of_critic = run(variables["params"])
  assert (set(out["generator"]), set(out["critic"])) == TERMS[name]
  for term in (*out["generator"].values(), *out["critic"].values()):
    assert term.shape == (2,) and term.dtype == jnp.float32 and np.isfinite(term).all()
  for path, grad in jax.tree_util.tree_leaves_with_path(of_critic):
    if path[0].key.startswith("critic") and path[-1].key == "kernel":  # normalisation takes what a bias adds
      assert np.isfinite(grad).all() and grad.any(), path
  for path, grad in jax.tree_util.tree_leaves_with_path(of_generator):
    if not path[0].key.startswith("critic") and path[-1].key == "kernel":
      assert np.isfinite(grad).all() and grad.any(), path


@pytest.mark.parametrize("name", FIELDS)
def test_images_depend_on_their_own_pair_alone_and_need_no_target(name):
  model, variables = made(name)
  video, instances = triplets()
  run = jax.jit(lambda v: model.apply(variables, v)["image"])
  whole, other = run(video[:, :2]), run(video[:, :2].at[1].multiply(-1))
  np.testing.assert_allclose(whole[0], other[0], atol=1e-5)
  assert whole.shape == (2, 32, 32, 3) and whole.dtype == jnp.float32 and (abs(whole) <= 1).all()
  assert not np.allclose(whole[1], other[1])
  trained = jax.jit(lambda v: model.apply(variables, v, instances, train=True)["image"])(video)
  np.testing.assert_allclose(trained, whole, atol=1e-4)
  with pytest.raises(ValueError, match="triplets"):
    model.apply(variables, video[:, :2], instances, train=True)


def test_a_pose_that_is_told_by_its_cluster_has_a_code_in_place_of_its_image():
  model = vidx.create_model("pix2pixhd", **FIELDS["pix2pixhd"], poses=5)
  assert model.inputs == ("video", "instances", "pose_cluster")
  video, instances = triplets()
  variables = drawn(model, video, instances, jnp.zeros(2, jnp.int32))
  assert variables["params"]["encoder"]["layer1"]["conv"]["kernel"].shape[-2:] == (3 + 5, 4)
  run = jax.jit(lambda v, c: model.apply(variables, v, pose_cluster=c)["image"])
  image = run(video[:, :2], jnp.asarray([1, 4]))
  np.testing.assert_array_equal(image, run(video[:, :2].at[:, 1].set(0), jnp.asarray([1, 4])))
  moved = jnp.abs(image - run(video[:, :2], jnp.asarray([2, 4]))).max((1, 2, 3))
  assert moved[0] > 0.05 * image[0].std() and not moved[1]  # no norm takes the code out
  code = model.pose(video[:, 1], jnp.asarray([3, -1]))
  assert code.shape == (2, 32, 32, 5) and code[0].sum() == code[0, ..., 3].sum() == 32 * 32 and not code[1].any()
  out = jax.eval_shape(lambda v, c: model.apply(variables, v, instances, c, train=True), video, instances[:, 0])
  assert (set(out["generator"]), set(out["critic"])) == TERMS["pix2pixhd"]
  with pytest.raises(ValueError, match="pose_cluster"):
    model.apply(variables, video[:, :2])


def test_ablations_leave_out_their_terms_and_change_no_image():
  video, instances = triplets()
  model, variables = made("disentangle")
  for fields, gone in ((dict(verify=False), {"pixels"}), (dict(verify=False, reconstruct=False), {"pixels", "again"}),
                       (dict(reconstruct=False), {"again"})):
    less = vidx.create_model("disentangle", **{**FIELDS["disentangle"], **fields})
    out = jax.eval_shape(lambda v: less.apply(variables, v, instances, train=True), video)
    assert set(out["generator"]) == TERMS["disentangle"][0] - gone
  more = vidx.create_model("disentangle", **FIELDS["disentangle"], matching=True, wrong_pair=True, gan="lsgan")
  out = jax.eval_shape(lambda v: more.apply(variables, v, instances, train=True), video)
  assert "features" in out["generator"]


def test_the_pose_encoder_forgets_contrast_and_the_identity_encoder_keeps_it():
  model, variables = made("disentangle")
  image = triplets()[0][:, 0] * 0.3
  code = lambda name: jax.jit(lambda x: model.apply(variables, x, method=lambda m, x: getattr(m, name)(x)))
  apart = {n: float(jnp.abs(code(n)(image) - code(n)(2 * image)).mean() / jnp.abs(code(n)(image)).mean())
           for n in ("pose_encoder", "identity_encoder")}
  assert apart["pose_encoder"] < 0.1 < 0.5 < apart["identity_encoder"]


def test_patches_and_half_precision_lower_for_accelerators():
  model = vidx.create_model("disentangle", **{**FIELDS["disentangle"], "patches": True, "dtype": jnp.bfloat16,
                                              "remat": True})
  video, instances = triplets()
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), video, instances)
  f = jax.jit(lambda v, x, i: model.apply(v, x, i, train=True))
  assert all(t.dtype == jnp.float32 for t in jax.tree.leaves(jax.eval_shape(f, variables, video, instances)))
  assert export.export(f, platforms=["tpu", "cuda"])(variables, video, instances).mlir_module_serialized


def test_distances_are_zero_for_equal_images_and_stop_at_the_target():
  x, y = triplets()[0][:, 0], triplets(seed=1)[0][:, 0]
  for form in ("vgg19", "vgg16"):
    net = perceptual.PerceptualDistance(form)
    variables = jax.eval_shape(net.init, jax.random.PRNGKey(0), x, y)
    assert len(jax.tree.leaves(variables)) == {"vgg19": 26, "vgg16": 8}[form]  # nothing behind the last layer
  rng = np.random.default_rng(0)
  variables = jax.tree.map(lambda s: jnp.asarray(rng.normal(0, 0.05, s.shape), jnp.float32), variables)
  run = jax.jit(lambda x, y: (net.apply(variables, x, y), *jax.grad(lambda x, y: net.apply(variables, x, y).sum(),
                                                                    (0, 1))(x, y)))
  apart, gx, gy = run(x, y)
  assert apart.shape == (2,) and (apart > 0).all() and gx.any() and not gy.any()
  assert not run(x, x)[0].any()
  np.testing.assert_allclose(perceptual.colours(x, y), np.abs(np.asarray(x - y)).mean((1, 2, 3)), rtol=1e-5)


def test_sizes_that_do_not_come_back_are_refused_with_one_that_does():
  for name, fields, side, words in (
      ("disentangle", {}, 100, "multiple of 8 that is at least 16"), ("drnet", {}, 100, "multiple of 8 "),
      ("fusion_image", {}, 8, "at least 16"), ("pix2pixhd", {}, 100, "multiple of 16 that is at least 32"),
      ("disentangle", dict(downs=1, scales=3), 6, "multiple of 2 that is at least 8"),
      ("disentangle", dict(downs=1, distance="vgg19"), 8, "at least 16")):
    model = vidx.create_model(name, **{**FIELDS[name], "downs": 4 if name == "pix2pixhd" else 3, **fields})
    with pytest.raises(errors.ConfigError, match=words) as e:
      jax.eval_shape(model.init, jax.random.PRNGKey(0), *triplets(side=side))
    assert f"{side}x{side}" in str(e.value) and "\n" not in str(e.value)
    least = int(words.split()[-1]) if "least" in words else 16
    video, instances = triplets(side=least)
    variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), video, instances)
    out = jax.eval_shape(lambda v, x: model.apply(v, x, instances, train=True), variables, video)
    assert out["image"].shape == (2, least, least, 3)


@pytest.mark.parametrize("field, value", [("distance", "other"), ("gan", "other"), ("pvm_norm", "other")])
def test_unknown_words_are_refused(field, value):
  with pytest.raises(errors.ConfigError, match=field.removeprefix("pvm_")):
    vidx.create_model("disentangle", **{field: value})
