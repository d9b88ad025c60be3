import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, systems
from vidx.measure import count
from vidx.train import warm_start

B, N, L = 3, 4, 5
TINY = dict(widths=((4, 4), (6,)), dim=8, hidden=9, vocab=20, width=6)
NAMES = np.array([[1, 2, 3, 4], [5, 1, -1, -1], [6, 7, 8, -1]], np.int32)


def example(size=16, frames=(1,)):
  rng = np.random.default_rng(0)
  phrases = rng.integers(4, 20, (B, N, L))
  mask = ((np.arange(L) < rng.integers(1, L + 1, (B, N, 1))) & (NAMES >= 0)[..., None]).astype("f")
  return jnp.asarray(rng.normal(size=(B, *frames, size, size, 3)), jnp.float32), phrases, mask, NAMES


X = tuple(map(jnp.asarray, example()))


@functools.cache
def made(**fields):
  model = vidx.create_model("grounding", **TINY, **fields)
  return model, promises.some_variables(model, *X)


def run(*arrays, **fields):
  model, variables = made(**fields)
  return jax.tree.map(np.asarray, promises.jitted(model)(variables, *arrays))


def test_it_has_the_published_size():
  model = vidx.create_model("grounding")
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in systems.rows()["grounding"].inputs]
  params = jax.eval_shape(model.init, jax.random.PRNGKey(0), *shapes)["params"]
  size = lambda part: sum(x.size for x in jax.tree.leaves(part))
  assert size(params["trunk"]) == 14_714_688 and size(params["language"]["lstm"]) == 14_688_256
  assert size(params["embedding"]) == 1_574_912 + 2_048
  seen = lambda v, x: model.apply(v, x, method="encode_images")
  trunk = {"params": {"trunk": params["trunk"]}}
  assert jax.eval_shape(seen, trunk, shapes[0]).shape == (1, 14, 14, 512)


def test_the_visual_encoder_multiplies_as_often_as_published():
  model = vidx.create_model("vgg16", num_classes=0, hidden=())
  macs = count(model, jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)).macs
  assert macs / 1e9 == pytest.approx(15.35, abs=0.01)


def test_scores_and_masks_are_products_of_codes():
  model, variables = made()
  out = run(*X)
  assert out["masks"].shape == (B, N, 8, 8) and out["masks"].dtype == np.float32
  codes = model.apply(variables, *X[1:3], method="encode_phrases")
  image, places = model.embedding.apply(
      {k: v["embedding"] for k, v in variables.items()}, model.apply(variables, X[0], method="encode_images"))
  np.testing.assert_allclose(out["score"], jnp.einsum("bd,bnd->bn", image, codes) / 8 ** 0.5, atol=1e-5)
  fits = jnp.einsum("bhwd,bnd->bnhw", places, codes) / 8 ** 0.5
  np.testing.assert_allclose(out["masks"], jax.nn.sigmoid(fits), atol=1e-5)
  whole = promises.jitted(model)(variables, X[0][:, 0], *X[1:])
  np.testing.assert_array_equal(whole["masks"], out["masks"])


def test_kept_codes_stand_in_place_of_words():
  model, variables = made()
  codes = model.apply(variables, *X[1:3], method="encode_phrases")
  out, kept = run(*X), model.apply(variables, X[0], codes, None, X[3])
  for key in out:
    np.testing.assert_allclose(kept[key], out[key], atol=1e-5)


def test_an_image_and_its_phrases_do_not_depend_on_others_nor_on_padding():
  video, phrases, mask, names = X
  out = run(*X)
  other = run(video.at[1:].set(1), phrases.at[1:].set(5), mask, names)
  np.testing.assert_allclose(other["masks"][0], out["masks"][0], atol=1e-6)
  np.testing.assert_allclose(other["score"][0], out["score"][0], atol=1e-6)
  behind = run(video, phrases + (mask == 0) * 3 % 4, mask, names)
  np.testing.assert_allclose(behind["masks"][0], out["masks"][0], atol=1e-6)
  wider = run(video, *(jnp.pad(x, [(0, 0), (0, 2)] + [(0, 0)] * (x.ndim - 2), constant_values=fill)
                       for x, fill in ((phrases, 0), (mask, 0), (names, -1))))
  np.testing.assert_allclose(wider["masks"][:, :N], out["masks"], atol=1e-6)


def test_nothing_teaches_the_language_encoder_and_all_else_learns_in_half_precision():
  model, variables = made(dtype=jnp.bfloat16)

  @jax.jit
  def grads(params):
    def loss(params):
      out, _ = model.apply({**variables, "params": params}, *X, train=True, mutable=["batch_stats"],
                           rngs={"dropout": jax.random.PRNGKey(0)})
      assert all(v.dtype == jnp.float32 for v in out.values())
      return out["score"].sum() + out["drawn"].sum() + (out["masks"] ** 2).sum()
    return jax.grad(loss)(params)

  found = grads(variables["params"])
  for path, g in jax.tree_util.tree_leaves_with_path(found):
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    assert np.isfinite(g).all() and bool(g.any()) != name.startswith("language"), name


def test_negatives_are_drawn_anew_in_training_and_never_in_evaluation():
  model, variables = made()
  train = lambda seed: model.apply(variables, *X, train=True, mutable=["batch_stats"],
                                   rngs={"dropout": jax.random.PRNGKey(seed)})[0]["drawn"]
  assert (train(0) != train(1)).any()
  np.testing.assert_array_equal(run(*X)["drawn"], run(*X)["drawn"])
  np.testing.assert_array_equal(run(*X)["there"], NAMES >= 0)


def test_it_lowers_for_accelerators():
  model, _ = made()
  promises.lowers_for_accelerators(model, *X)


def test_other_trunks_with_maps_serve_and_blocks_are_plugged_into_them():
  model = vidx.create_model("grounding", trunk="resnet_18", stages=(1, 1), width=4, dim=8, hidden=9, vocab=20)
  shapes = jax.eval_shape(lambda *x: model.init_with_output(jax.random.PRNGKey(0), *x), *X)[0]
  assert shapes["masks"].shape[:2] == (B, N)
  seen = []
  vidx.create_model("grounding", **TINY, sites={"conv2.0": lambda x: seen.append(x.shape) or x}).apply(made()[1], *X)
  assert seen
  assert "pool2" not in model.site_names() and made()[0].site_names()[-1] == "conv2.0"


@pytest.mark.parametrize("fields, words", [
    (dict(bn_stats="images"), "nearest: 'image'"), (dict(mask="soft"), "softplus"), (dict(score_scale=-1), "below 0"),
    (dict(sites={"pool2": lambda x: x}), "matches no site"), (dict(hiden=3), "no field 'hiden'")])
def test_a_wrong_field_is_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError, match=words):
    vidx.create_model("grounding", **{**TINY, **fields})


def test_clips_and_tokens_are_refused():
  model, variables = made()
  with pytest.raises(ValueError, match="set data.frames to 1"):
    model.apply(variables, jnp.zeros((B, 2, 16, 16, 3)), *X[1:])
  vit = vidx.create_model("grounding", trunk="deit_ti", depth=1, dim=192, vocab=20)
  with pytest.raises(ValueError, match="tokens, not a map"):
    jax.eval_shape(lambda *x: vit.init(jax.random.PRNGKey(0), *x), jnp.zeros((B, 224, 224, 3)), *X[1:])


def test_the_language_encoder_starts_from_a_language_model():
  language = vidx.create_model("language_model", vocab=20, width=6, hidden=8)
  given = promises.some_variables(language, jnp.ones((1, 5), int), jnp.ones((1, 5)), seed=3)
  variables, report = warm_start.merge(dict(made()[1]), given, "/language/")
  assert len(report["loaded"]) == 7 and not report["other shape"] and not report["not in the checkpoint"]
  jax.tree.map(np.testing.assert_array_equal, variables["params"]["language"], given["params"]["language"])
