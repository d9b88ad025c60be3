import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.nn.duration_dp import poisson_dp, poisson_log_probs
from vidx.nn.segmentation_graph import forward_loss
from vidx.nn.semi_markov import semi_markov
from vidx.nn.sequence import smoothing

SMALL = dict(num_classes=4, layers=2, width=8)
RNG = np.random.default_rng(0)
FRAMES = 24
X = 3 * RNG.normal(size=(2, FRAMES, 6)).astype("f")
LENGTHS = np.array([24, 17])
MASK = np.arange(FRAMES) < LENGTHS[:, None]
TRANSCRIPTS = np.array([[2, 0, 3, 0], [1, 3, -1, -1]])
SETS = np.array([[1, 0, 1, 1], [0, 1, 0, 1]], np.float32)
FRAME_LABELS = np.where(MASK, RNG.integers(-1, 4, (2, FRAMES)), -1)
SEEN = {"lengths": {"frames": jnp.array([30.0, 20, 0, 45]), "segments": jnp.array([6.0, 2, 0, 5])}}


@functools.cache
def jitted(name, fields=()):
  return jax.jit(vidx.create_model(name, **SMALL, **dict(fields)).apply)


@pytest.fixture(scope="module")
def multi():
  return promises.some_variables(vidx.create_model("ms_tcn", **SMALL, stages=2), X)


@pytest.fixture(scope="module")
def single():
  return {"params": promises.some_variables(vidx.create_model("uniform_split", **SMALL), X)["params"], **SEEN}


def same_with_other_padding(run, target, more):
  """Losses and predictions of two videos survive their order and what and how much the padding holds."""
  together = run(X, LENGTHS, target)
  dirty = np.concatenate([np.where(MASK[..., None], X, 9), np.full((2, 8, 6), -5.0, "f")], 1)[::-1]
  longer = run(dirty, LENGTHS[::-1], more[::-1])
  for term, values in together["losses"].items():
    np.testing.assert_allclose(longer["losses"][term][::-1], values, rtol=1e-4, atol=1e-6)
  for i, n in enumerate(LENGTHS):
    found = together["predictions"]["y"][i]
    assert (found[:n] >= 0).all() and (found[n:] == -1).all()
    np.testing.assert_array_equal(longer["predictions"]["y"][1 - i, :n], found[:n])
    np.testing.assert_allclose(longer["confidence"][1 - i, :n], together["confidence"][i, :n], atol=1e-4)


def test_parameters():
  params = lambda name: sum(x.size for x in jax.tree.leaves(jax.eval_shape(
      vidx.create_model(name).init, jax.random.PRNGKey(0), jnp.zeros((1, 32, 2048)))["params"]))
  block = 64 * 64 * 3 + 64 + 64 * 64 + 64
  first = 2048 * 64 + 64 + 10 * block + 64 * 48 + 48
  later = 48 * 64 + 64 + 10 * block + 64 * 48 + 48
  assert params("uniform_split") == first and params("ms_tcn") == first + 3 * later == 813_504


def test_stages_see_what_the_stage_before_says(multi):
  one = jitted("ms_tcn", (("stages", 1),))
  run = functools.partial(jitted("ms_tcn", (("stages", 2),)), multi)
  out = run(X, LENGTHS, FRAME_LABELS)
  params = multi["params"]
  first = one({"params": {"stage1": params["stage1"]}}, X, LENGTHS, FRAME_LABELS)
  second = one({"params": {"stage1": params["stage2"]}}, jax.nn.softmax(first["logits"]), LENGTHS, FRAME_LABELS)
  np.testing.assert_allclose(np.where(MASK[..., None], out["logits"], 0),
                             np.where(MASK[..., None], second["logits"], 0), atol=1e-4)
  for term, values in out["losses"].items():
    np.testing.assert_allclose(values, first["losses"][term] + second["losses"][term], rtol=1e-4)
  log_probs = jax.nn.log_softmax(first["logits"])
  for i, n in enumerate(LENGTHS):
    known = np.flatnonzero(FRAME_LABELS[i] >= 0)
    assert float(first["losses"]["frames"][i]) == pytest.approx(
        -np.mean(np.asarray(log_probs)[i, known, FRAME_LABELS[i, known]]), rel=1e-5)
  np.testing.assert_allclose(first["losses"]["smoothing"], 0.15 * smoothing(log_probs, MASK), rtol=1e-5)
  weak = run(X, LENGTHS, FRAME_LABELS, np.array([1.0, 0]))
  assert all(v[1] == 0 and v[0] == out["losses"][k][0] for k, v in weak["losses"].items())


def test_ms_tcn_does_not_see_padding(multi):
  same_with_other_padding(functools.partial(jitted("ms_tcn", (("stages", 2),)), multi), FRAME_LABELS,
                          np.pad(FRAME_LABELS, ((0, 0), (0, 8)), constant_values=-1))


def test_stages_pass_their_sites_in_their_order():
  for name in ("ms_tcn", "length_dp"):
    promises.visits_every_site(vidx.create_model(name, **SMALL), X)


def test_the_even_split_is_learned(single):
  out = jitted("uniform_split")(single, X, LENGTHS, TRANSCRIPTS)
  of_set = jitted("uniform_split", (("supervision", "set"),))(single, X, LENGTHS, SETS)
  log_probs = np.asarray(jax.nn.log_softmax(out["logits"]))
  for i, (n, even, members) in enumerate(zip(LENGTHS, ((2, 0, 3, 0), (1, 3)), ((0, 2, 3), (1, 3)))):
    for found, names in ((out, even), (of_set, members)):
      labels = [names[t * len(names) // n] for t in range(n)]
      assert float(found["losses"]["frames"][i]) == pytest.approx(-log_probs[i, np.arange(n), labels].mean(), rel=1e-5)
    np.testing.assert_array_equal(out["predictions"]["y"][i, :n], log_probs[i, :n].argmax(-1))


def test_baselines_do_not_see_padding(single):
  run = functools.partial(jitted("length_dp", (("supervision", "transcript"), ("grid", 1))), single)
  same_with_other_padding(run, TRANSCRIPTS, TRANSCRIPTS)


def test_new_videos_are_cut_by_frames_without_their_prior_and_by_lengths(single):
  run = jitted("length_dp", (("supervision", "transcript"), ("grid", 1)))
  out = run(single, X, LENGTHS, TRANSCRIPTS)
  mean = np.array([5.0, 10, 1, 9])
  table = np.where(np.array([[1], [1], [0], [1]]), poisson_log_probs(jnp.asarray(mean), FRAMES), -np.inf)
  prior = np.array([30 / 95, 20 / 95, 1, 45 / 95])
  scores = jax.nn.log_softmax(out["logits"]) - np.log(prior)
  for i, n in enumerate(LENGTHS):
    np.testing.assert_array_equal(out["predictions"]["y"][i, :n], semi_markov(scores[i], table, length=n)[0][:n])
  fresh = {**single, "lengths": jax.tree.map(jnp.zeros_like, SEEN["lengths"])}
  out = run(fresh, X, LENGTHS, TRANSCRIPTS)  # no length is known: frames alone
  np.testing.assert_array_equal(out["predictions"]["y"][0], out["logits"][0].argmax(-1))


def test_transcripts_are_aligned_and_their_lengths_remembered(single):
  fields = (("grid", 1), ("align", True), ("dropout", 0.0))
  aligned = jitted("length_dp", fields)(single, X, LENGTHS, TRANSCRIPTS)
  dp = jax.jit(poisson_dp)
  model = vidx.create_model("length_dp", **SMALL, **dict(fields))
  trained, new = jax.jit(functools.partial(model.apply, train=True, mutable=["lengths"]))(
      single, X, LENGTHS, TRANSCRIPTS)
  np.testing.assert_allclose(trained["losses"]["frames"], aligned["losses"]["frames"], rtol=1e-5)
  scores = jax.nn.log_softmax(aligned["logits"]) - np.log(np.array([30 / 95, 20 / 95, 1, 45 / 95]))
  frames, segments = np.zeros(4), np.zeros(4)
  for i, (n, names, means) in enumerate(zip(LENGTHS, ((2, 0, 3, 0), (1, 3)), ((6, 5, 9, 5), (10, 9)))):
    means = np.array(means) * n / sum(means)  # class 2 was never seen: its mean is an even share
    room = 4 - len(names)
    best = dp(scores[i], np.pad(names, (0, room)), np.pad(means, (0, room)), length=n, segments=len(names)).lengths
    best = best[:len(names)]
    np.testing.assert_array_equal(aligned["predictions"]["y"][i, :n], np.repeat(names, best))
    np.add.at(frames, list(names), np.asarray(best))
    np.add.at(segments, list(names), 1)
  np.testing.assert_allclose(new["lengths"]["frames"], 0.999 * SEEN["lengths"]["frames"] + frames, rtol=1e-5)
  np.testing.assert_allclose(new["lengths"]["segments"], 0.999 * SEEN["lengths"]["segments"] + segments, rtol=1e-5)
  with pytest.raises(errors.ConfigError, match="nothing to align"):
    jax.eval_shape(model.apply, single, X, LENGTHS)


def test_soft_boundaries_move_as_training_goes_on(single):
  fields = (("insertions", 3), ("insert_every", 2), ("align", True), ("dropout", 0.0))
  model = vidx.create_model("soft_boundaries", **SMALL, **dict(fields))
  start = {"params": single["params"], "progress": {"steps": jnp.int32(0)}}
  train = jax.jit(functools.partial(model.apply, train=True, mutable=["progress"]))
  at = lambda steps: jitted("soft_boundaries", fields)({**start, "progress": {"steps": jnp.int32(steps)}}, X, LENGTHS,
                                                       TRANSCRIPTS)
  even = np.array([[2, 0, 3, 0][t * 4 // 24] for t in range(24)])
  np.testing.assert_array_equal(at(1)["predictions"]["y"][0], even)
  trained, new = train({**start, "progress": {"steps": jnp.int32(5)}}, X, LENGTHS, TRANSCRIPTS)
  assert int(new["progress"]["steps"]) == 6 and "predictions" not in trained
  np.testing.assert_allclose(trained["losses"]["frames"], at(5)["losses"]["frames"], rtol=1e-5)
  for later in (4, 600):  # all rounds are made by then, and no more
    found = np.asarray(at(later)["predictions"]["y"][0])
    assert found[np.r_[True, found[1:] != found[:-1]]].tolist() == [2, 0, 3, 0]
  assert (np.asarray(at(6)["predictions"]["y"][0]) == found).all() and (found != even).any()
  same_with_other_padding(functools.partial(jitted("soft_boundaries", fields), {
      **start, "progress": {"steps": jnp.int32(6)}}), TRANSCRIPTS, TRANSCRIPTS)
  alone = jitted("soft_boundaries", (("insertions", 3),))(start, X, LENGTHS)
  np.testing.assert_array_equal(alone["predictions"]["y"][0], alone["logits"][0].argmax(-1))


@pytest.mark.parametrize("contrast", ["hard", "all"])
def test_segmentations_near_the_aligned_one_are_learned(single, contrast):
  fields = (("contrast", contrast), ("grid", 1), ("align", True), ("dropout", 0.0), ("window", 4), ("step", 1))
  run = functools.partial(jitted("forward_loss", fields), single)
  out, aligned = run(X, LENGTHS, TRANSCRIPTS), jitted("length_dp", fields[1:4])(single, X, LENGTHS, TRANSCRIPTS)
  np.testing.assert_array_equal(out["predictions"]["y"], aligned["predictions"]["y"])
  assert list(out["losses"]) == ["forward"]
  for i, (n, names) in enumerate(zip(LENGTHS, TRANSCRIPTS)):
    found, count = np.asarray(out["predictions"]["y"][i, :n]), int((names >= 0).sum())
    cuts = np.flatnonzero(np.r_[True, found[1:] != found[:-1], True])
    lengths = np.pad(np.diff(cuts), (0, 4 - count))
    assert found[cuts[:-1]].tolist() == names[:count].tolist()
    wanted = forward_loss(jax.nn.log_softmax(out["logits"][i]), jnp.maximum(names, 0), jnp.asarray(lengths), count, n,
                          4, 1, contrast)
    assert float(out["losses"]["forward"][i]) == pytest.approx(float(wanted), rel=1e-4)
  same_with_other_padding(run, TRANSCRIPTS, TRANSCRIPTS)
  model = vidx.create_model("forward_loss", **SMALL, **dict(fields))
  loss = lambda p: model.apply({**single, "params": p}, X, LENGTHS, TRANSCRIPTS, train=True, mutable=["lengths"])[0][
      "losses"]["forward"].sum()
  assert all(np.isfinite(g).all() and np.any(g) for g in jax.tree.leaves(jax.jit(jax.grad(loss))(single["params"])))


def test_a_video_with_fewer_frames_than_segments_costs_no_forward_loss(single):
  run = jitted("forward_loss", (("grid", 1), ("dropout", 0.0)))
  out = run(single, X[:, :3], np.array([3, 3]), TRANSCRIPTS)
  assert out["losses"]["forward"][0] == 0 != out["losses"]["forward"][1]


def test_wrong_fields_are_named():
  with pytest.raises(errors.ConfigError, match="contrast = 'hard', window = 10.* and realign = True"):
    vidx.create_model("length_dp", contrast="hard", realign=False)
  with pytest.raises(errors.ConfigError, match="contrast = 'hards' is not one of none, hard, all, or empty"):
    vidx.create_model("forward_loss", contrast="hards")
  with pytest.raises(errors.ConfigError, match="insertions = 4.* none with realign"):
    vidx.create_model("soft_boundaries", realign=True)
  with pytest.raises(errors.ConfigError, match="supervision = 'sets' is not one of transcript, set .nearest: 'set'"):
    vidx.create_model("length_dp", supervision="sets")
  with pytest.raises(errors.ConfigError, match="stages = 0"):
    vidx.create_model("ms_tcn", stages=0)


def test_a_set_is_taken_in_the_order_of_its_expected_times(single):
  out = jitted("length_dp", (("supervision", "set"), ("align", True), ("grid", 1)))(single, X, LENGTHS, SETS)
  for i, (n, members) in enumerate(zip(LENGTHS, ((0, 2, 3), (1, 3)))):
    share = np.asarray(jax.nn.softmax(out["logits"][i, :n]))[:, members]
    expected = np.array(members)[np.argsort(np.arange(n) @ share / share.sum(0))]
    found = np.asarray(out["predictions"]["y"][i, :n])
    assert found[np.r_[True, found[1:] != found[:-1]]].tolist() == expected.tolist()
