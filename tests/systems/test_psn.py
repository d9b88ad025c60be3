import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, measure, tasks
from vidx.data import sampling

N, M, K = 6, 3, 4
TINY = dict(num_classes=K, trunk="resnet_18", stages=(1,), width=8, stem="small", keep=M,
            sampler_fields=dict(stages=(1,), widths=(8, 8, 16)), context_fields=dict(width=8))


def tiny(**fields):
  return vidx.create_model("psn", **{**TINY, **fields})


@pytest.fixture(scope="module")
def video():
  return np.asarray(promises.some_input((2, N, 16, 16, 3)))


@pytest.fixture(scope="module")
def variables(video):
  return promises.some_variables(tiny(), video)


@pytest.fixture(scope="module")
def parts(variables, video):
  """Scores of all candidates and what the classifier says of each, computed one by one."""
  scores = called("score")(variables, video)["scores"]
  alone = {k: v["classifier"] for k, v in variables.items()}
  heavy = vidx.create_model("resnet_18", **{k: TINY[k] for k in ("num_classes", "stages", "width", "stem")})
  logits = np.stack([promises.jitted(heavy)(alone, video[:, i])["logits"] for i in range(N)], 1)
  return np.asarray(scores), logits


@functools.cache
def called(method):
  return jax.jit(functools.partial(tiny().apply, method=method))


def run(variables, video, *more, **fields):
  return promises.jitted(tiny(**fields))(variables, video, *more)


def trained(variables, video, **fields):
  model = tiny(**fields)
  forward = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))
  out, new = forward(variables, video)
  return out, new["batch_stats"]


# ---------------------------------------------------------------- the published counts

FRAMES = jax.ShapeDtypeStruct((1, 25, 224, 224, 3), jnp.float32)


@pytest.mark.parametrize("name, fields, published, printed", [
    ("psn", {}, 82.26, 82.3), ("psn_r50", {}, 28.60, 28.6), ("psn_r50", dict(keep=8), 36.82, 36.8),
    ("psn_r152", {}, 119.5, None)])
def test_products_are_those_of_the_tables(name, fields, published, printed):
  """The tables count the light network with the 1000 classes of its first training, which choose nothing."""
  gmacs = measure.count(vidx.create_model(name, **fields), FRAMES, convention="published").macs / 1e9
  assert gmacs == pytest.approx(published, abs=0.05)
  assert printed is None or round(gmacs + 25 * 1024 * 1000 / 1e9, 1) == printed


def test_uniform_frames_cost_what_the_classifier_alone_costs():
  uniform = vidx.create_model("psn", select="uniform", keep=25)
  assert measure.count(uniform, FRAMES, convention="published").macs / 1e9 == pytest.approx(195.81, abs=0.01)
  true = measure.count(uniform, FRAMES)
  heavy = measure.count(vidx.create_model("resnet_101", num_classes=200), FRAMES)
  assert true.macs == pytest.approx(heavy.macs, rel=1e-6)


# ---------------------------------------------------------------- prediction


def test_prediction_equals_sorting_gathering_and_classifying(video, variables, parts):
  scores, logits = parts
  out = run(variables, video)
  for b in range(len(video)):
    order = np.argsort(-scores[b])[:M]
    expected = sum(logits[b, i] / (1 + np.exp(-scores[b, i])) for i in order)
    np.testing.assert_array_equal(out["frames"][b], order)
    np.testing.assert_allclose(out["logits"][b], expected, rtol=1e-4, atol=1e-5)


def test_two_calls_with_frames_fetched_between_them_equal_one(video, variables):
  scores = called("score")(variables, video)["scores"]
  chosen, weights = map(np.asarray, called("choose")({}, scores))
  frames = np.stack([video[b, chosen[b]] for b in range(len(video))])
  out = called("classify")(variables, frames, weights)
  np.testing.assert_allclose(out["logits"], run(variables, video)["logits"], rtol=1e-4, atol=1e-5)


def test_frames_that_are_not_chosen_change_nothing_but_the_scores(video, variables):
  """A classifier's statistics are the stored ones: no frame sees another."""
  chosen, weights = np.asarray([[0, 2], [1, 4]]), np.asarray([[0.5, 0.25], [1.0, 0.0]], "f")
  frames = np.take_along_axis(video, chosen[..., None, None, None], 1)
  other = frames.copy()
  other[1, 1] = 9.0  # of weight 0
  a, b = (called("classify")(variables, x, weights)["logits"] for x in (frames, other))
  np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("select", ["uniform", "random", "oracle"])
def test_what_chooses_without_scores_counts_its_frames_alike(video, variables, parts, select):
  label = (np.asarray([2, 0]),) if select == "oracle" else ()
  out = run(variables, video, *label, select=select)
  frames = np.asarray(out["frames"])
  assert out["weights"].shape == (2, M) and np.allclose(out["weights"], 1 / M)
  expected = np.stack([parts[1][b, frames[b]].mean(0) for b in range(2)])
  np.testing.assert_allclose(out["logits"], expected, rtol=1e-4, atol=1e-5)
  assert all(len(set(row)) == M for row in frames.tolist())
  if select == "uniform":
    assert frames.tolist() == [[1, 3, 5]] * 2
  elif select == "oracle":
    assert frames.tolist() == [np.argsort(-parts[1][b, :, y])[:M].tolist() for b, y in enumerate(label[0])]
  else:
    np.testing.assert_array_equal(frames, np.asarray(run(variables, video[::-1], select=select)["frames"])[::-1])


def test_weights_can_be_switched_off_and_on(video, variables, parts):
  scores, logits = parts
  plain = run(variables, video, weighting=False)
  for b in range(2):
    np.testing.assert_allclose(plain["logits"][b], logits[b, np.argsort(-scores[b])[:M]].mean(0), rtol=1e-4, atol=1e-5)
  weighted = run(variables, video, select="uniform", weighting=True)
  q = 1 / (1 + np.exp(-scores[:, 1::2]))
  np.testing.assert_allclose(weighted["logits"], np.einsum("bn,bnk->bk", q, logits[:, 1::2]), rtol=1e-4, atol=1e-5)


def test_scsampler_chooses_by_the_highest_logit_of_the_light_network(video):
  model = tiny(select="scsampler")
  variables = promises.some_variables(model, video)
  alone = {k: v["sampler"] for k, v in variables.items()}
  light = vidx.create_model("shufflenet_v2", num_classes=K, **TINY["sampler_fields"])
  logits = np.stack([promises.jitted(light)(alone, video[:, i])["logits"] for i in range(N)], 1)
  out = promises.jitted(model)(variables, video)
  np.testing.assert_array_equal(out["frames"], np.argsort(-logits.max(-1), axis=1)[:, :M])
  assert "frame_scores" not in variables["params"] and np.allclose(out["weights"], 1 / M)


def test_repeated_frames_can_be_chosen_last(video, variables):
  index = sampling.sampler("segments", N)(2)[0]
  out = run(variables, video[:, index], dedup=True)
  assert index.tolist() == [0, 0, 0, 1, 1, 1]
  assert all(set(row[:2]) == {0, 3} for row in np.asarray(out["frames"]).tolist())
  assert (np.asarray(out["weights"])[:, 2] == 0).all()


def test_the_sampler_can_see_smaller_frames(video, variables):
  out = run(variables, video, sampler_size=8)
  small = jax.image.resize(video, (2, N, 8, 8, 3), "linear", antialias=True)
  scores = np.asarray(called("score")(variables, small)["scores"])
  np.testing.assert_array_equal(out["frames"], np.argsort(-scores, axis=1)[:, :M])


def test_clips_can_be_candidates(video):
  model = tiny(trunk="tsm", consecutive=2, keep=2)
  assert promises.jitted(model)(promises.some_variables(model, video), video)["frames"].shape == (2, 2)


def test_what_was_chosen_is_a_map(video, variables):
  out, state = jax.jit(functools.partial(tiny().apply, mutable=["maps"]))(variables, video)
  kept, = state["maps"]["kept"]
  expected = np.zeros((2, N))
  for b in range(2):
    expected[b, out["frames"][b]] = out["weights"][b]
  np.testing.assert_allclose(kept, expected, rtol=1e-6)


# ---------------------------------------------------------------- training


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_training_weights_every_frame(video, variables, reduce):
  """With M = N the prediction is that of training, up to batch statistics, which are frozen here."""
  frozen = dict(sampler_fields=dict(TINY["sampler_fields"], frozen_bn="all"), context="none", context_fields={},
                reduce=reduce, keep=N)
  some = promises.some_variables(tiny(**frozen), video)
  np.testing.assert_allclose(trained(some, video, **frozen)[0]["logits"],
                             run(some, video, **frozen)["logits"], rtol=1e-4, atol=1e-5)


def test_the_classifier_is_frozen_and_the_sampler_learns(video, variables):
  model, task = tiny(keep=1, sparsity=0.5), tasks.get("classification")
  rest = {k: v for k, v in variables.items() if k != "params"}
  label = np.asarray([1, 3])

  def loss(params):
    out, new = model.apply({"params": params, **rest}, video, train=True, mutable=["batch_stats"])
    return task.loss(out, {"label": label})[0].mean(), (out, new["batch_stats"])

  (value, (out, stats)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
  assert all(not np.any(g) for g in jax.tree.leaves(grads["classifier"]))
  assert all(np.any(g) for g in jax.tree.leaves((grads["frame_scores"], grads["sampler"])))
  jax.tree.map(np.testing.assert_array_equal, stats["classifier"], rest["batch_stats"]["classifier"])
  before, after = jax.device_get((rest["batch_stats"]["sampler"], stats["sampler"]))
  assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after)))
  entropy = jax.jit(optax.softmax_cross_entropy_with_integer_labels)(out["logits"], label)
  sparsity = np.asarray(out["losses"]["sparsity"])
  np.testing.assert_allclose(value, (np.asarray(entropy) + sparsity).mean(), rtol=1e-5)
  assert (sparsity > 0).all()


# ---------------------------------------------------------------- promises


def test_it_keeps_the_promises_of_a_trunk(video):
  make, video = functools.partial(tiny), jnp.asarray(video)
  promises.keeps_examples_apart(make(), video)
  promises.identities_change_nothing(make, video[:1])
  promises.visits_every_site(make(), video)
  promises.lowers_for_accelerators(make(), video[:1])
  assert make(sites={"sampler.stem": "TemporalShift"}).sampler.sites
  assert make(sites={"res2.*.branch": "TemporalShift"}).classifier.sites


@pytest.mark.parametrize("fields, words", [
    (dict(select="best"), ["select", "topk, uniform, random"]),
    (dict(reduce="norm"), ["reduce", "sum, mean"]),
    (dict(fusion="late"), ["fusion", "logits, probabilities"]),
    (dict(context="lstm"), ["context", "ed_tcn"]),
    (dict(context_fields=dict(widht=3)), ["context_fields", "widht"]),
    (dict(keep=0), ["keep = 0"]),
    (dict(sampler="shufflenet"), ["unknown model 'shufflenet'", "nearest: 'shufflenet_v2'"]),
    (dict(sites={"sampler.head": "TemporalShift"}), ["sampler.head", "sampler.stem"])])
def test_a_wrong_field_is_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError) as e:
    tiny(**fields)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)


def test_more_frames_to_keep_than_there_are_is_one_clear_line(video):
  with pytest.raises(errors.ConfigError, match="keeps 7 frames of 6 candidates"):
    jax.eval_shape(tiny(keep=7).init, jax.random.PRNGKey(0), video)
