import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.nn.duration_dp import poisson_dp
from vidx.nn.segment_masks import integrate_segments, project_lengths, segment_masks, widen
from vidx.nn.sequence_decoder import AttentionDecoder
from vidx.systems.mucon import run_lengths

SMALL = dict(num_classes=4, backbone=(1, 2), pools=(0, 1), width=8, hidden=8, groups=4, max_segments=5)
small = functools.partial(vidx.create_model, "mucon", **SMALL)
RNG = np.random.default_rng(0)
FRAMES = 32
X = 3 * RNG.normal(size=(2, FRAMES, 6)).astype("f")
LENGTHS = np.array([32, 21])
TRANSCRIPTS = np.array([[2, 0, 3, 0], [1, 3, -1, -1]])
FRAME_LABELS = np.full((2, FRAMES), -1)
FRAME_LABELS[0] = np.repeat([2, 0, 3, 0], [10, 7, 9, 6])
FRAME_LABELS[1, :21] = np.repeat([1, 3], [8, 13])
TARGETS = (LENGTHS, TRANSCRIPTS, FRAME_LABELS)


def shapes(frames, **fields):
  model = vidx.create_model("mucon", **fields)
  x = jax.ShapeDtypeStruct((1, frames, 64), jnp.float32)
  trunk = model._trunk()
  return jax.eval_shape(lambda x: trunk.init_with_output(jax.random.PRNGKey(0), x)[0], x)["regions"].shape


@pytest.mark.parametrize("fields, params", [
    ({}, 1_608_866), (dict(two_biases=True), 1_610_402), (dict(two_biases=True, num_classes=17), 1_629_348 - 32_896)])
def test_parameters_are_those_published(fields, params):
  counts = jax.tree.map(lambda x: x.size, jax.eval_shape(
      vidx.create_model("mucon", **fields).init, jax.random.PRNGKey(0), jnp.zeros((1, 32, 2048)))["params"])
  assert sum(jax.tree.leaves(counts)) == params
  if not fields:
    total = lambda part: sum(jax.tree.leaves(part))
    decoder = counts.pop("decoder")
    assert {k: total(v) for k, v in counts.items()} == {
        "trunk": 1_002_752, "encoder": 263_168, "to_state": 32_896, "to_cell": 32_896, "classifier": 6_192}
    assert {k: total(v) for k, v in decoder.items()} == {
        "keys": 32_768, "attention": 128, "embedding": 6_400, "query": 16_512, "combine": 49_280, "lstm": 131_584,
        "label1": 16_512, "label2": 6_321, "length1": 11_392, "length2": 65}


@pytest.mark.parametrize("fields, entries", [
    ({}, 125), (dict(pools=(1, 2, 4)), 250), (dict(backbone="linear"), 125), (dict(backbone="fixed"), 125),
    (dict(backbone="single"), 2000)])
def test_variants_of_the_trunk(fields, entries):
  assert shapes(2000, **fields) == (1, entries, 128)


def test_a_single_convolution_is_one():
  trunk = vidx.create_model("mucon", backbone="single")._trunk()
  params = jax.eval_shape(trunk.init, jax.random.PRNGKey(0), jnp.zeros((1, 32, 2048)))["params"]
  assert sum(x.size for x in jax.tree.leaves(params)) == (2048 + 1) * 128 + 2 * 128


# ------------------------------------------------------------ the losses, without a network

LOGITS = 2 * RNG.normal(size=(2, FRAMES, 4)).astype("f")
DECODED = {"logits": RNG.normal(size=(2, 5, 5)).astype("f"), "lengths": 2.5 * RNG.normal(size=(2, 5)).astype("f"),
           "labels": RNG.integers(0, 5, (2, 5))}
MASK = np.arange(FRAMES) < LENGTHS[:, None]


@functools.partial(jax.jit, static_argnames="fields")
def of_losses(y, mask, length, decoded, transcript, frame_label=None, full=None, fields=()):
  model = vidx.create_model("mucon", **{"num_classes": y.shape[-1], **dict(fields)})
  return model.apply({}, y, mask, length, decoded, transcript, frame_label, full, method="losses")


def losses_by_loops(y, decoded, transcript, labels, public):
  """Terms of one video without padding, by the equations, or as the released code has them."""
  log = lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))
  (frames, classes), count = y.shape, len(transcript)
  words = log(decoded["logits"].astype(float))
  of_words = -sum(words[m, a] for m, a in enumerate([*transcript, classes]))
  relative = decoded["lengths"][:count].astype(float)
  lengths = frames * np.exp(relative) / np.exp(relative).sum()
  starts = np.cumsum(lengths) - lengths
  consistency = 0.0
  for m, a in enumerate(transcript):
    g = np.zeros(classes)
    for t in range(frames):
      u = 100 * (t + 1 - starts[m]) / lengths[m]
      if public:
        u = 1 + 99 * (t * frames / (frames - 1) - starts[m]) / lengths[m]
      g += y[t] * min(max(u, 0), 1) * min(max(101 - u, 0), 1) / lengths[m]
    consistency -= log(g)[a]
  excess = sum(max(v - 2, 0) + max(-v - 2, 0) for v in relative)
  steps = np.abs(np.diff(log(y), axis=0))
  smooth = min((steps**2).mean(), 16) if public else (np.minimum(steps, 4) ** 2).sum() / frames / classes
  own = -np.mean([log(y[t])[labels[t]] for t in range(frames)])
  share = np.diff([0, *np.flatnonzero(np.diff(labels)) + 1, frames]) / frames
  mine = np.exp(relative) / np.exp(relative).sum()
  error = (mine - share if public else np.log(mine) - np.log(share)) ** 2
  return {"transcript": of_words, "consistency": consistency / count if public else consistency,
          "length": 0.1 * excess, "smoothing": 0.1 * smooth, "frames": own, "full_length": error.mean()}


@pytest.mark.parametrize("name", ["mucon", "mucon_public"])
def test_losses_equal_the_loops_of_each_video_alone(name):
  model = vidx.create_model(name, num_classes=4)
  found = jax.jit(functools.partial(model.apply, {}, method="losses"))(
      LOGITS, MASK, LENGTHS, DECODED, TRANSCRIPTS, FRAME_LABELS, np.ones(2))
  for i, (frames, count) in enumerate(zip(LENGTHS, (4, 2))):
    expected = losses_by_loops(LOGITS[i, :frames].astype(float), {k: v[i] for k, v in DECODED.items()},
                               TRANSCRIPTS[i, :count], FRAME_LABELS[i, :frames], name != "mucon")
    assert found.keys() == expected.keys()
    for term, value in expected.items():
      assert float(found[term][i]) == pytest.approx(value, rel=1e-3), term


def test_other_forms_of_the_consistency():
  one = lambda **fields: float(of_losses(LOGITS[:1], MASK[:1], LENGTHS[:1], jax.tree.map(lambda x: x[:1], DECODED),
                                         TRANSCRIPTS[:1], fields=tuple(fields.items()))["consistency"][0])

  @jax.jit
  def expected(relative):
    lengths = project_lengths(relative, 32)
    own = -jax.nn.log_softmax(LOGITS[0])  # (T, K)
    of_sums = lambda sums, by: -jax.nn.log_softmax(sums / by[:, None])[np.arange(4), TRANSCRIPTS[0]]
    dense = of_sums(integrate_segments(LOGITS[0], lengths), lengths)
    starts, longer = widen(jnp.cumsum(lengths) - lengths, lengths, 0.1, True)
    wide = of_sums(segment_masks(longer, FRAMES, starts=starts) @ LOGITS[0], longer)
    return own, segment_masks(lengths, FRAMES), dense, wide

  own, masks, dense, wide = jax.device_get(expected(DECODED["lengths"][0, :4]))
  assert one(consistency="arithmetic") == pytest.approx((masks.T * own[:, TRANSCRIPTS[0]]).sum() / 32, rel=1e-4)
  assert one(masks="integral") == pytest.approx(dense.sum(), rel=1e-4)
  found = one(overlap=0.1, public_overlap=True, background_weight=0.5)
  assert found == pytest.approx((wide * np.array([1, 0.5, 1, 0.5])).sum(), rel=1e-4)
  labels = np.where(DECODED["labels"][0, :4] < 4, DECODED["labels"][0, :4], 0)
  assert one(consistency="arithmetic", consistency_target="predicted") == pytest.approx(
      (masks.T * own[:, labels]).sum() / 32, rel=1e-4)


def test_frames_are_to_be_consistent_with_the_transcript_that_the_decoder_went_on_with():
  model = vidx.create_model("mucon", num_classes=4)
  run = jax.jit(lambda model_, forced: model_.apply(
      {}, LOGITS, MASK, LENGTHS, DECODED, TRANSCRIPTS, forced=forced, method="losses")["consistency"], static_argnums=0)
  truth, predicted = (run(model.clone(consistency_target=t), True) for t in ("truth", "predicted"))
  assert np.any(truth != predicted)
  np.testing.assert_array_equal(run(model, jnp.array(True)), truth)
  np.testing.assert_array_equal(run(model, jnp.array(False)), predicted)


@pytest.mark.parametrize("height", [2.0, 5.0])
def test_perfect_frames_and_lengths_leave_what_their_height_leaves(height):
  truth, classes = np.array([100, 300, 200, 400]), 8
  y = height * np.eye(classes)[np.repeat([3, 1, 0, 5], truth)]
  decoded = {"logits": np.zeros((1, 5, classes + 1)), "labels": np.zeros((1, 5), int),
             "lengths": np.log(np.append(truth, 1))[None]}
  found = of_losses(y[None], np.ones((1, 1000), bool), np.array([1000]), decoded, np.array([[3, 1, 0, 5]]),
                    fields=(("background_weight", 1.0),))
  expected = 4 * math.log(1 + (classes - 1) * math.exp(-height))
  assert float(found["consistency"][0]) == pytest.approx(expected, rel=0.05)


def test_only_fully_labelled_videos_are_trained_by_frames():
  full = of_losses(LOGITS, MASK, LENGTHS, DECODED, TRANSCRIPTS, FRAME_LABELS, np.ones(2))
  mixed = of_losses(LOGITS, MASK, LENGTHS, DECODED, TRANSCRIPTS, FRAME_LABELS, np.array([0.0, 1]))
  for term, values in jax.device_get(full).items():
    supervised = term in ("frames", "full_length")
    np.testing.assert_allclose(mixed[term], values * (np.array([0, 1]) if supervised else 1), rtol=1e-6)
    assert term == "length" or (values > 0).all()


def test_runs_of_labels_are_counted():
  labels = np.array([[2, 2, 2, 0, 3, 3, -1, -1], [1, 1, 1, 1, 1, 1, 1, -1], [0, 1, 0, 1, 0, 1, -1, -1]])
  assert jax.jit(run_lengths, static_argnums=1)(labels, 4).tolist() == [[3, 1, 2, 0], [7, 0, 0, 0], [0, 0, 0, 0]]


# ------------------------------------------------------------ the network


@pytest.fixture(scope="module")
def variables():
  return promises.some_variables(small(), X)


@pytest.fixture(scope="module")
def run(variables):
  """The outputs, what the decoder gave among them."""
  decoders = lambda module, method: isinstance(module, AttentionDecoder) and method == "__call__"

  @jax.jit
  def apply(x, *targets):
    out, seen = small().apply(variables, x, *targets, capture_intermediates=decoders, mutable=["intermediates"])
    return {**out, "decoded": seen["intermediates"]["decoder"]["__call__"][-1]}

  return lambda *given: jax.device_get(apply(*given))


@pytest.fixture(scope="module")
def together(run):
  return run(X, *TARGETS)


def test_a_video_is_the_same_alone_and_with_padding_of_any_kind(run, together):
  room = lambda x, fill, size: np.pad(x, ((0, 0), (0, size)), constant_values=fill)[::-1]
  dirty = np.concatenate([np.where(MASK[..., None], X, 9), np.full((2, 8, 6), -5.0, "f")], 1)[::-1]
  longer = run(dirty, LENGTHS[::-1], room(TRANSCRIPTS, -1, 2), room(FRAME_LABELS, -1, 8))
  assert set(together["losses"]) == {"transcript", "consistency", "length", "smoothing", "frames", "full_length"}
  for term, values in together["losses"].items():
    np.testing.assert_allclose(longer["losses"][term][::-1], values, rtol=1e-4, atol=1e-6, err_msg=term)
  for i, n in enumerate(LENGTHS):
    assert longer["segments"][1 - i].tolist() == together["segments"][i].tolist()
    assert longer["segment_lengths"][1 - i].tolist() == together["segment_lengths"][i].tolist()
    for name, found in together["predictions"].items():
      assert (found[i, :n] >= 0).all() and (found[i, n:] == -1).all()
      np.testing.assert_array_equal(longer["predictions"][name][1 - i, :n], found[i, :n])
    np.testing.assert_allclose(longer["confidence"][1 - i, :n], together["confidence"][i, :n], atol=1e-4)


def test_segments_are_the_decoded_transcript_with_lengths_by_frames_and_decoder(together):
  dp = jax.jit(functools.partial(poisson_dp, max_length=FRAMES))
  means_of, softmax, log_softmax = jax.jit(project_lengths), jax.jit(jax.nn.softmax), jax.jit(jax.nn.log_softmax)
  decoded = together["decoded"]
  for i, n in enumerate(LENGTHS):
    labels = [a for a in decoded["labels"][i].tolist() if a < 4]
    count = len(labels)
    assert together["segments"][i].tolist() == labels + [-1] * (5 - count)
    means = np.asarray(means_of(decoded["lengths"][i], n, np.arange(5) < count))
    best = np.asarray(dp(log_softmax(together["logits"][i]), np.array(labels + [0] * (5 - count)), means, length=n,
                         segments=count).lengths)[:count]
    assert together["segment_lengths"][i, :count].tolist() == best.tolist() and best.sum() == n
    np.testing.assert_array_equal(together["predictions"]["full"][i, :n], np.repeat(labels, best))
    ends = np.round(np.cumsum(means[:count])).astype(int)
    np.testing.assert_array_equal(together["predictions"]["s"][i, :n], np.repeat(labels, np.diff(ends, prepend=0)))
    np.testing.assert_array_equal(together["predictions"]["y"][i, :n], together["logits"][i, :n].argmax(-1))
    own = np.asarray(softmax(together["logits"][i]))[np.arange(n), together["predictions"]["full"][i, :n]]
    np.testing.assert_allclose(together["confidence"][i, :n], own, atol=1e-5)


def test_predictions_need_no_transcript_and_do_not_look_at_one(run, together, variables):
  other = run(X, LENGTHS, (TRANSCRIPTS + 1) % 4, FRAME_LABELS)
  assert (other["losses"]["transcript"] != together["losses"]["transcript"]).all()
  for name, found in together["predictions"].items():
    np.testing.assert_array_equal(other["predictions"][name], found)
  alone = jax.eval_shape(small().apply, variables, X, LENGTHS)
  assert "losses" not in alone and alone["predictions"].keys() == other["predictions"].keys()


def test_padding_of_a_batch_and_the_shortest_videos_are_finite(run):
  blank = run(X, np.array([32, 0]), np.where([[True], [False]], TRANSCRIPTS, -1), FRAME_LABELS)
  assert all(np.isfinite(v).all() for v in blank["losses"].values())
  short = run(X, np.array([3, 1]), TRANSCRIPTS, FRAME_LABELS)
  assert (short["segment_lengths"].sum(1) == np.array([3, 1])).all() and (short["segments"][1] >= 0).sum() == 1


@pytest.mark.parametrize("infer", ["exact", "grid", "gd"])
def test_a_given_transcript_is_aligned(infer):
  model = vidx.create_model("mucon", num_classes=4, infer=infer)
  y = (4 * (FRAME_LABELS[..., None] == np.arange(4)) + LOGITS / 8).astype("f")
  relative = np.log(np.array([[8, 8, 8, 8], [10, 11, 1, 1]], "f"))
  out = jax.jit(functools.partial(model.apply, {}, method="segment"))(y, MASK, LENGTHS, TRANSCRIPTS, relative)
  assert out["segments"].tolist() == TRANSCRIPTS.tolist()
  lengths = np.asarray(out["segment_lengths"])
  assert lengths.sum(1).tolist() == LENGTHS.tolist()
  if infer == "exact":
    assert lengths.tolist() == [[10, 7, 9, 6], [8, 13, 0, 0]]
  elif infer == "gd":
    assert np.abs(lengths - np.array([[10, 7, 9, 6], [8, 13, 0, 0]])).max() <= 2


def test_alignment_is_of_the_batch_s_transcripts(variables):
  model = small(align=True)
  out = jax.eval_shape(model.apply, variables, X, LENGTHS, TRANSCRIPTS)
  assert out["segments"].shape == TRANSCRIPTS.shape
  with pytest.raises(errors.ConfigError, match="these videos have none: set system.align = False"):
    jax.eval_shape(model.apply, variables, X, LENGTHS)


def test_teacher_forcing_ends_after_the_given_videos(variables, together):
  model = small(dropout=0.0, teacher_forcing="first", teacher_videos=4)
  step = jax.jit(lambda videos: model.apply({**variables, "progress": {"videos": videos}}, X, LENGTHS, TRANSCRIPTS,
                                            train=True, mutable=["progress"]))
  (given, progress), (own, _) = step(jnp.int32(3)), step(jnp.int32(4))
  assert progress["progress"]["videos"] == 5 and "predictions" not in own
  for term, values in given["losses"].items():
    np.testing.assert_allclose(values, together["losses"][term], rtol=1e-4, atol=1e-6, err_msg=term)
  assert np.any(np.asarray(given["losses"]["transcript"]) != own["losses"]["transcript"])


def test_gradients_are_finite_and_reach_every_parameter():
  model = small(dtype=jnp.bfloat16, points=4, backbone="single")
  variables = promises.some_variables(model, X)

  @jax.jit
  @jax.grad
  def gradient(params):
    out = model.apply({"params": params}, X, *TARGETS, train=True, rngs={"dropout": jax.random.PRNGKey(0)})
    return sum(v.sum() for v in out["losses"].values())

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
    assert np.isfinite(leaf).all() and np.any(leaf), path


def test_sites_of_the_trunk_are_passed_in_their_order():
  promises.visits_every_site(small(), X)


@pytest.mark.parametrize("fields, words", [
    (dict(infer="viterbi"), "mucon: infer = 'viterbi' is not one of exact, grid, gd"),
    (dict(backbone="exponentail"), "backbone = 'exponentail' is not one of .* .nearest: 'exponential'")])
def test_a_wrong_choice_is_named(fields, words):
  with pytest.raises(errors.ConfigError, match=words):
    vidx.create_model("mucon", **fields)
