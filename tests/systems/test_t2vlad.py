import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, systems
from vidx.measure import count
from vidx.metrics import retrieval
from vidx.nn import ranking
from vidx.train import warm_start

SIZES = {"rgb": (5, 12), "s3d": (3, 7), "audio": (4, 6)}  # tokens, features
TINY = dict(experts=tuple(SIZES), dim=16, centres=3, vocab=30, positions=12, depth=1, heads=2, hidden=32)
B, L = 5, 8


def example(seed=0, batch=B, length=L, texts=()):
  rng = np.random.default_rng(seed)
  text = rng.integers(4, 30, (batch, *texts, length))
  mask = (np.arange(length) < rng.integers(3, length + 1, (batch, *texts, 1))).astype("f")
  tokens = [rng.normal(size=(batch, *shape)).astype("f") for shape in SIZES.values()]
  live = [(np.arange(n) < rng.integers(1, n + 1, (batch, 1))).astype("f") for n, _ in SIZES.values()]
  live[2][1] = 0  # the second video has no sound
  return text, mask, *tokens, *live


X = example()
VARIANTS = [{}, dict(use_local=False, global_text="cls"), dict(vlad="text_only", assign_norm="bias"),
            dict(vlad="separate", temporal_agg="vlad")]
OTHERS = [dict(use_local=False), dict(use_global=False), dict(visual_attention=False), dict(temporal_agg="mean"),
          dict(ghost=False), dict(bn_per_modality=False), dict(mask_padding=False), dict(proj_l2=False),
          dict(stop_grad_video_centers=True), dict(ffn_dim=24), dict(global_text="cls")]


@functools.cache
def made(**fields):
  model = vidx.create_model("t2vlad", **TINY, **fields)
  return model, promises.some_variables(model, *map(jnp.asarray, X))


def run(model, variables, *arrays):
  return jax.tree.map(np.asarray, promises.jitted(model)(variables, *arrays))


def halves(out):
  return ({k.removeprefix(side): v for k, v in out.items() if k.startswith(side)} for side in ("text/", "video/"))


@pytest.mark.parametrize("name, params", [
    ("t2vlad", 176_057_136), ("t2vlad_lsmdc", 161_806_126), ("t2vlad_activitynet", 135_506_758)])
def test_it_has_the_published_parameters(name, params):
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in systems.rows()[name].inputs]
  assert count(vidx.create_model(name), *shapes).params == params


@pytest.mark.parametrize("experts, centres, norm, parts", [
    (systems.rows()["t2vlad"].fields["experts"], 9, "bn", (14_632, 5_799_936, 10_536_960, 47_210_496, 55_304)),
    (systems.rows()["t2vlad_lsmdc"].fields["experts"], 9, "bias", (14_602, 5_174_784, 8_727_552, 35_407_872, 41_478)),
    (("s3d", "audio"), 16, "bias", (25_361, 886_272, 2_070_528, 20_060_160, 24_578))])
def test_its_parts_have_the_published_parameters(experts, centres, norm, parts):
  model = vidx.create_model("t2vlad", experts=experts, centres=centres, assign_norm=norm, depth=0)
  widths = dict(zip(systems.rows()["t2vlad"].fields["experts"], (300, 512, 2048, 1024, 1024, 2208, 300, 128)))
  arrays = [(1, 4), (1, 4), *((1, 2, widths[e]) for e in experts), *((1, 2) for _ in experts)]
  params = jax.eval_shape(model.init, jax.random.PRNGKey(0), *(jnp.zeros(s) for s in arrays))["params"]
  size = lambda prefix: sum(p.size for k, v in params.items() if k.startswith(prefix) for p in jax.tree.leaves(v))
  assert tuple(map(size, ("text_centres", "projections", "video_gates", "text_gates", "weights"))) == parts
  assert size("attention") == 3_548_160 and size("video_centres") == 0


def gathered_by_loops(z, mask, p, stats, modality):
  """Equations 6.1 to 6.3, a token, a centre and a channel at a time."""
  z, found = z.astype(np.float64), []
  centres = np.concatenate([p["centres"], p["background"]]).astype(np.float64)
  norm, s = p[f"norm_{modality}"], stats[f"norm_{modality}"]
  for tokens, live in zip(z, mask):
    rows = np.zeros_like(p["residual"], np.float64)
    for token in tokens[live > 0]:
      logits = (centres @ token - s["mean"]) / np.sqrt(s["var"] + 1e-5) * norm["scale"] + norm["bias"]
      a = np.exp(logits - logits.max())
      for j in range(len(rows)):
        for c in range(len(token)):
          rows[j, c] += a[j] / a.sum() * (token[c] - p["residual"][j, c])
    found.append(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))
  return np.array(found)


def test_words_and_video_tokens_are_gathered_as_by_the_loop():
  model, variables = made(visual_attention=False)
  p, stats = variables["params"], variables["batch_stats"]
  out = run(model, variables, *X)
  tokens = model.text.apply({"params": p["text"]}, X[0], mask=X[1])["tokens"]
  vlad, own = p["text_centres"]["vlad"], stats["text_centres"]["vlad"]
  np.testing.assert_allclose(out["text/local"],
                             gathered_by_loops(np.asarray(tokens), X[1], vlad, own, "text"), atol=1e-5)
  z = [x @ p[f"projections_{i}"]["dense"]["kernel"] + p[f"projections_{i}"]["dense"]["bias"]
       for i, x in enumerate(X[2:5])]
  z = np.concatenate([np.asarray(v) / np.linalg.norm(v, axis=-1, keepdims=True) for v in z], 1)
  np.testing.assert_allclose(out["video/local"], gathered_by_loops(z, np.concatenate(X[5:], 1), vlad, own, "video"),
                             atol=1e-5)


def test_scores_are_factored_bounded_and_those_of_the_equations():
  model, variables = made()
  text, video = halves(run(model, variables, *X))
  np.testing.assert_allclose(np.linalg.norm(text["local"], axis=-1), 1, rtol=1e-5)
  np.testing.assert_allclose(text["weights"].sum(-1), 1, rtol=1e-5)
  assert video["available"].tolist()[1] == [1, 1, 0] and not video["global"][1, 2].any()
  direct = np.array([[np.mean([
      sum(w * a * (t @ v) for w, a, t, v in zip(text["weights"][i], video["available"][j], text["global"][i],
                                               video["global"][j])) / (text["weights"][i] @ video["available"][j]),
      text["local"][i].ravel() @ video["local"][j].ravel() / np.linalg.norm(text["local"][i]) / np.linalg.norm(
          video["local"][j])]) for j in range(B)] for i in range(B)])
  np.testing.assert_allclose(ranking.scores(text, video), direct, atol=1e-5)
  np.testing.assert_allclose(retrieval.similarity(text, video), direct, atol=1e-5)
  assert np.abs(direct).max() <= 1


def test_one_inner_product_serves_videos_that_have_all_experts():
  model, variables = made()
  arrays = [*X[:5], *(np.ones_like(m) for m in X[5:])]
  text, video = halves(run(model, variables, *arrays))
  flat = lambda *parts: np.concatenate([p.reshape(B, -1) for p in parts], 1)
  said = flat(text["global"] * text["weights"][..., None] / 2, text["local"] / 6)
  np.testing.assert_allclose(said @ flat(video["global"], video["local"]).T, ranking.scores(text, video), atol=1e-5)


def test_padding_tokens_and_their_order_change_nothing():
  model, variables = made()
  out = run(model, variables, *X)
  wide = lambda x: np.concatenate([x, np.full((B, 2, *x.shape[2:]), 7, x.dtype)], 1)
  dead = lambda m: np.concatenate([m, np.zeros((B, 2), m.dtype)], 1)
  padded = run(model, variables, wide(X[0]), dead(X[1]), *map(wide, X[2:5]), *map(dead, X[5:]))
  turned = run(model, variables, *X[:2], *(x[:, ::-1] for x in X[2:]))
  for other in (padded, turned):
    for key, value in out.items():
      np.testing.assert_allclose(other[key], value, atol=2e-5, err_msg=key)


def test_examples_do_not_meet_in_evaluation():
  model, variables = made()
  out = run(model, variables, *X)
  alone = run(model, variables, *(x[:1] for x in X))
  for key, value in out.items():
    np.testing.assert_allclose(alone[key][0], value[0], atol=1e-5)


def test_several_texts_of_a_video_are_each_as_alone():
  model, variables = made()
  several = example(3, texts=(2,))
  out = run(model, variables, *several)
  for q in range(2):
    one = run(model, variables, several[0][:, q], several[1][:, q], *several[2:])
    for key in out:
      value = out[key][:, q] if key.startswith("text/") else out[key]
      np.testing.assert_allclose(one[key], value, atol=1e-5)


def test_shared_centres_see_one_tensor_as_one_and_separate_ones_do_not():
  z = promises.some_input((2, 6, 16))

  def local(**fields):
    model = vidx.create_model("t2vlad", **TINY, assign_norm="bias", **fields)
    shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), *X)["params"]
    both = lambda m: (m.text_centres(z, None, False, "text"), m.video_centres(z, None, False, "video"))
    keys = [k for k in shapes if k.endswith("_centres")]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: rng.normal(size=s.shape).astype("f"), {k: shapes[k] for k in keys})
    a, b = model.apply({"params": params}, method=both)
    return float((a * b).sum((-1, -2)).mean() / 3)

  assert local() == pytest.approx(1, abs=1e-5) and local(vlad="separate") < 0.999


def gradients(model, variables):
  """{parameter: gradient} of the loss over the pairs of X; all of them are finite."""
  rest = {k: v for k, v in variables.items() if k != "params"}

  @jax.jit
  def grads(params):
    def loss(p):
      out, _ = model.apply({"params": p, **rest}, *X, train=True, mutable=["batch_stats"],
                           rngs={"dropout": jax.random.PRNGKey(1)})
      return ranking.margin_loss(ranking.scores(*halves(out)), 0.2).sum()
    return jax.grad(loss)(params)

  found = {jax.tree_util.keystr(k, simple=True, separator="/"): g
           for k, g in jax.tree_util.tree_leaves_with_path(grads(variables["params"]))}
  assert all(np.isfinite(g).all() for g in found.values())
  return found


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_a_variant_learns_everything_that_it_has(fields):
  model, variables = made(**fields)
  found = gradients(model, variables)
  dead = {k for k, g in found.items() if not np.any(g)}
  allowed = ("segments", "gate/dense/bias", "qkv/bias")  # a bias in front of batch statistics moves nothing
  assert all(any(a in name for a in allowed) for name in dead), dead


@pytest.mark.parametrize("fields", OTHERS, ids=str)
def test_a_variant_is_built_to_its_scores(fields):
  model, variables = made(**fields)
  out, _ = jax.eval_shape(lambda v: model.apply(v, *X, train=True, mutable=["batch_stats"],
                                                rngs={"dropout": jax.random.PRNGKey(1)}), variables)
  assert jax.eval_shape(ranking.scores, *halves(out)).shape == (B, B)


def test_parts_that_are_left_out_have_no_parameters():
  names = lambda **fields: {k.rstrip("0123456789_") for k in made(**fields)[1]["params"]}
  assert names(use_local=False, global_text="cls") == {"text", "text_gates", "video_gates", "weights"}
  assert names(use_global=False) == {"text", "text_centres", "projections", "attention"}
  assert "video_centres" in names(vlad="separate") and "pooled" in names(vlad="text_only")
  assert names(vlad="text_only", visual_attention=False) >= {"pooled", "text_centres"}


def test_its_text_encoder_starts_from_one_that_was_converted_alone():
  bert = vidx.create_model("bert_base", pooler=False, vocab=30, positions=12, dim=16, depth=1, heads=2, hidden=32)
  given = promises.some_variables(bert, jnp.asarray(X[0]), seed=5)
  merged, report = warm_start.merge(made()[1], given, "/text/")
  jax.tree.map(np.testing.assert_array_equal, merged["params"]["text"], given["params"])
  assert len(report["loaded"]) == len(jax.tree.leaves(given)) and not report["not in the checkpoint"]


def test_it_lowers_for_tpu_and_cuda():
  model = vidx.create_model("t2vlad", **TINY, dtype=jnp.bfloat16)
  promises.lowers_for_accelerators(model, *map(jnp.asarray, X))


def test_half_precision_is_near():
  model, variables = made()
  half = vidx.create_model("t2vlad", **TINY, dtype=jnp.bfloat16)
  a, b = (ranking.scores(*halves(run(m, variables, *X))) for m in (model, half))
  assert b.dtype == jnp.float32 and np.abs(np.asarray(a - b)).max() < 0.05


@pytest.mark.parametrize("fields, message", [
    (dict(vlad="both"), "vlad"), (dict(temporal_agg="median"), "temporal_agg"), (dict(experts=()), "experts"),
    (dict(experts=("rgb", "rgb")), "not different"), (dict(use_local=False, use_global=False), "neither a local"),
    (dict(widht=3), "no field 'widht'")])
def test_a_wrong_field_is_one_clear_line(fields, message):
  with pytest.raises(errors.ConfigError, match=message):
    systems.create_model("t2vlad", **{**TINY, **fields})
