import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors
from vidx.measure.count import count
from vidx.nn.segment_masks import project_lengths, segment_masks, shares, spread_segments

SMALL = dict(num_classes=4, width=8, groups=4, dilations=(1, 2, 4), pools=(0, 1, 2), tap=1)
small = functools.partial(vidx.create_model, "sct", **SMALL)
RNG = np.random.default_rng(0)
FRAMES = 48
X = RNG.normal(size=(2, FRAMES, 6)).astype("f")
LENGTHS = np.array([48, 37])
SETS = np.array([[1, 0, 1, 1], [0, 1, 0, 1]], np.float32)


def features(frames, channels):
  return jax.ShapeDtypeStruct((1, frames, channels), jnp.float32)


@pytest.mark.parametrize("classes, channels, params", [
    (48, 2048, 1_023_457), (17, 2048, 1_015_459), (48, 64, 769_505), (17, 64, 761_507)])
def test_parameters_are_those_published(classes, channels, params):
  counted = count(vidx.create_model("sct", num_classes=classes), features(64, channels))
  assert counted.params == params
  if (classes, channels) == (48, 2048):
    assert sum(n for name, (n, _) in counted.by_module.items() if name.startswith("trunk/")) == 1_002_752


@pytest.mark.parametrize("frames, early, regions", [(2000, 250, 62), (1000, 125, 31), (32, 4, 1)])
def test_a_video_has_a_region_for_32_frames(frames, early, regions):
  model = vidx.create_model("sct")
  out = jax.eval_shape(lambda x: model.init_with_output(jax.random.PRNGKey(0), x)[0], features(frames, 64))
  assert out["regions"].shape == (1, regions, 48) and out["logits"].shape == (1, frames, 48)
  trunk = jax.eval_shape(lambda x: model._trunk().init_with_output(jax.random.PRNGKey(0), x)[0], features(frames, 64))
  assert trunk["early"].shape[1] == early


# ------------------------------------------------------------ the losses, without a network


@functools.partial(jax.jit, static_argnames="fields")
def losses(a, relative, y, s, label, length, live, mask, fields=()):
  model = vidx.create_model("sct", **{"num_classes": a.shape[-1], "temperature": 1.0, **dict(fields)})
  return model.apply({}, a, relative, y, s, label, length, live, mask, method="losses")


def of_regions(a, label, **fields):
  """Losses of one video of which all regions (K, C) are live."""
  regions, classes = np.shape(a)
  y = np.full((1, 3, classes), 1 / classes)
  return losses(jnp.asarray(a, jnp.float32)[None], jnp.zeros((1, regions)), y, y, jnp.asarray(label)[None],
                jnp.array([3]), jnp.ones((1, regions), bool), jnp.ones((1, 3), bool), fields=tuple(fields.items()))


LABEL = np.array([1, 0, 1, 1, 0], np.float32)
ONES = dict.fromkeys(("set_weight", "region_weight", "sparsity_weight", "consistency_weight", "agreement_weight",
                      "length_weight"), 1.0)


def test_regions_of_the_set_that_show_each_action_cost_nothing_but_sparsity_and_changes():
  a = np.eye(5)[[0, 0, 2, 3, 3, 3]]
  found = of_regions(a, LABEL, **ONES)
  assert float(found["set"][0]) == pytest.approx(0, abs=1e-5) and found["region"] == 0
  assert float(found["consistency"][0]) == pytest.approx(2 * 2 / (3 * 6))  # two changes
  missing = of_regions(np.eye(5)[[0, 0, 2, 2, 2, 2]], LABEL, **ONES)  # class 3 is nowhere
  strange = of_regions(np.eye(5)[[0, 0, 2, 3, 4, 3]], LABEL, **ONES)  # class 4 is not of the set
  assert missing["set"] > 2 and missing["region"] == 0 and strange["set"] > 2 and strange["region"] > 2


def test_inverse_sparsity_is_the_same_for_all_regions_of_the_set():
  for seed in range(3):
    a = np.random.default_rng(seed).dirichlet(np.ones(3), 6) @ np.eye(5)[[0, 2, 3]]
    assert float(of_regions(a, LABEL, **ONES)["sparsity"][0]) == pytest.approx(2 / 3, abs=1e-6)
  half = 0.5 * a + 0.5 * np.eye(5)[[1] * 6]
  assert float(of_regions(half, LABEL, **ONES)["sparsity"][0]) == pytest.approx(1 - 0.5 / 3, abs=1e-6)


@pytest.mark.parametrize("size, floor", [(3, 3.546), (7, 3.732)])
def test_frame_probabilities_cannot_agree_below_a_floor(size, floor):
  maps = np.eye(48)[np.arange(420) % size]
  found = losses(jnp.ones((1, 1, 48)) / 48, jnp.zeros((1, 1)), maps[None], maps[None],
                 (jnp.arange(48) < size)[None].astype(jnp.float32), jnp.array([420]), jnp.ones((1, 1), bool),
                 jnp.ones((1, 420), bool), fields=tuple(ONES.items()))
  assert float(found["agreement"][0]) == pytest.approx(floor, abs=5e-4)
  share = math.exp(1 / size)
  assert floor == pytest.approx(-math.log(share / (share + 47)), abs=5e-4)


def losses_by_loops(a, relative, y, s, label, public):
  """Terms of one video without padding, by the equations, or as the released code has them."""
  (regions, classes), frames = a.shape, len(y)
  members = [m for m in range(classes) if label[m]]
  w = [0.001 if public and c == 0 else 1.0 for c in range(classes)]
  of_set = sum(w[m] * math.log(a[:, m].max()) for m in members)
  if public:
    of_set = -of_set / len(members)
  else:
    of_set = -(of_set + sum(math.log(1 - a[:, c].max()) for c in range(classes) if c not in members)) / classes
  region = -sum(math.log(max(a[k, m] for m in members)) for k in range(regions)) / regions
  sparsity = sum(w[m] * (1 - a[:, m].mean()) for m in members) / len(members)
  change = sum(abs(a[k, m] - a[k - 1, m]) for m in members for k in range(1, regions))
  beyond = sum(max(v - 1, 0) + max(-v - 1, 0) for v in relative)
  if not public:
    change, beyond = change / len(members) / regions, beyond / regions
  agreement, total = 0.0, 0.0
  for m in members:
    v = sum(y[t, m] * s[t] for t in range(frames)) / frames
    agreement -= w[m] * (v[m] - math.log(np.exp(v).sum()))
    total += w[m]
  return {"set": of_set, "region": 0.1 * region, "sparsity": 0.1 * sparsity, "consistency": 0.1 * change,
          "agreement": agreement / total, "length": 0.1 * beyond}


CASE = [np.random.default_rng(1).dirichlet(np.ones(4), (2, 5)).astype("f"),
        2 * np.random.default_rng(2).normal(size=(2, 5)).astype("f"),
        np.random.default_rng(3).dirichlet(np.ones(4), (2, 12)).astype("f"),
        3 * np.random.default_rng(4).normal(size=(2, 12, 4)).astype("f")]
CUTS = ((5, 12), (3, 8))
MASKS = [np.arange(n) < np.array(ends)[:, None] for n, ends in zip((5, 12), zip(*CUTS))]


@pytest.mark.parametrize("name", ["sct", "sct_public"])
def test_losses_equal_the_loops_of_each_video_alone(name):
  model = vidx.create_model(name, num_classes=4)
  found = jax.jit(functools.partial(model.apply, {}, method="losses"))(
      *CASE, SETS, np.array([12, 8]), *MASKS)
  for i, (regions, frames) in enumerate(CUTS):
    a, relative, y, s = (x[i, :n].astype(float) for x, n in zip(CASE, (regions, regions, frames, frames)))
    for term, expected in losses_by_loops(a, relative, y, s, SETS[i], name != "sct").items():
      assert float(found[term][i]) == pytest.approx(expected, rel=1e-4), term


def test_divergence_and_entropy_in_place_of_agreement_and_sparsity():
  fields = tuple({**ONES, "agreement": "js", "sparsity": "entropy"}.items())
  a, relative, y, s = CASE
  run = lambda y, s: losses(a, relative, y, s, SETS, np.array([12, 8]), *MASKS, fields=fields)
  same = run(jax.nn.softmax(s), s)
  np.testing.assert_allclose(same["agreement"], 0, atol=1e-5)
  p, q = y[1, :8].astype(float), np.asarray(jax.nn.softmax(s))[1, :8].astype(float)
  middle = np.log((p + q) / 2)
  expected = ((p * (np.log(p) - middle)).sum(-1) + (q * (np.log(q) - middle)).sum(-1)).mean() / 2
  assert float(run(y, s)["agreement"][1]) == pytest.approx(expected, rel=1e-4)
  mean = a[1, :3].mean(0)[[1, 3]]
  mean = mean / mean.sum()
  assert float(same["sparsity"][1]) == pytest.approx((mean * np.log(mean)).sum(), rel=1e-4)


def agreement_of_lengths(relative, a, s, label, points):
  """L_T of one video in double precision, from relative log lengths alone."""
  frames = len(s)
  lengths = frames * np.exp(relative) / np.exp(relative).sum()
  starts = np.cumsum(lengths) - lengths
  u = points * (np.arange(1, frames + 1) - starts[:, None]) / lengths[:, None]
  y = (np.clip(u, 0, 1) * np.clip(points + 1 - u, 0, 1)).T @ a
  members = np.flatnonzero(label)
  v = y[:, members].T @ s / frames
  return -np.mean([row[m] - np.log(np.exp(row).sum()) for row, m in zip(v, members)])


def test_lengths_are_trained_by_the_derivative_of_the_agreement():
  rng = np.random.default_rng(5)
  a, s, relative = rng.dirichlet(np.ones(4) / 2, 5), 3 * rng.normal(size=(60, 4)), rng.normal(size=5) / 2

  @functools.partial(jax.jit, static_argnames="stop")
  @functools.partial(jax.grad, argnums=0)
  def derivative(relative, stop):
    model = vidx.create_model("sct", num_classes=4, points=4, stop_starts=stop)
    y = model.apply({}, jnp.asarray(a)[None], project_lengths(relative[None], jnp.array([60])), jnp.array([60]),
                    jnp.ones((1, 5), bool), 60, method="spread")
    terms = model.apply({}, jnp.asarray(a)[None], relative[None], y, jnp.asarray(s)[None], SETS[:1], jnp.array([60]),
                        jnp.ones((1, 5), bool), jnp.ones((1, 60), bool), method="losses")
    return terms["agreement"][0]

  found = derivative(jnp.asarray(relative), False)
  for k in range(5):
    step = 1e-6 * np.eye(5)[k]
    expected = (agreement_of_lengths(relative + step, a, s, SETS[0], 4)
                - agreement_of_lengths(relative - step, a, s, SETS[0], 4)) / 2e-6
    assert float(found[k]) == pytest.approx(expected, rel=2e-2, abs=1e-4)
  assert np.abs(derivative(jnp.asarray(relative), True) - found).max() > 1e-3


@pytest.mark.parametrize("fields, masks", [
    (dict(points=4, corner="centre"), functools.partial(segment_masks, points=4, corner="centre")),
    (dict(masks="integral"), shares)])
def test_regions_may_be_spread_by_centred_masks_or_shares_of_frames(fields, masks):
  a = np.random.default_rng(0).dirichlet(np.ones(4), (1, 3)).astype("f")
  lengths, live = np.array([[20.5, 9.5, 30.0]]), np.ones((1, 3), bool)
  model = vidx.create_model("sct", num_classes=4, **fields)
  y = jax.jit(lambda: model.apply({}, a, lengths, np.array([60]), live, 60, method="spread"))()
  np.testing.assert_allclose(y, spread_segments(a, masks(jnp.asarray(lengths), 60), model.normalise), atol=1e-5)


# ------------------------------------------------------------ the network


@pytest.fixture(scope="module")
def variables():
  return promises.some_variables(small(), X)


@pytest.fixture(scope="module")
def run(variables):
  return functools.partial(jax.jit(small().apply), variables)


def test_a_video_is_the_same_alone_and_with_padding_of_any_kind(run):
  together = run(X, LENGTHS, SETS)
  longer = run(np.concatenate([np.where(np.arange(FRAMES)[:, None] < LENGTHS[:, None, None], X, 7),
                               np.full((2, 16, 6), -5.0, "f")], 1)[::-1], LENGTHS[::-1], SETS[::-1])
  for term, values in together["losses"].items():
    np.testing.assert_allclose(longer["losses"][term][::-1], values, rtol=1e-4, atol=1e-6, err_msg=term)
  for i, n in enumerate(LENGTHS):
    for name, found in together["predictions"].items():
      assert (found[i, :n] >= 0).all() and (found[i, n:] == -1).all()
      np.testing.assert_array_equal(longer["predictions"][name][1 - i, :n], found[i, :n])
    np.testing.assert_allclose(longer["confidence"][1 - i, :n], together["confidence"][i, :n], atol=1e-4)


def test_predictions_are_read_from_regions_and_from_frames(run):
  out = run(X, LENGTHS, SETS)
  assert out["segment_lengths"].sum(1).tolist() == LENGTHS.tolist()
  assert (out["segments"] >= 0).sum(1).tolist() == [n // 8 for n in LENGTHS]
  for i, n in enumerate(LENGTHS):
    np.testing.assert_array_equal(out["predictions"]["s"][i, :n], out["logits"][i, :n].argmax(-1))
    regions = n // 8
    np.testing.assert_array_equal(out["predictions"]["a"][i, :n], out["segments"][i][np.arange(n) * regions // n])
    spread = np.repeat(out["segments"][i], out["segment_lengths"][i])
    assert (spread == out["predictions"]["y"][i, :n]).mean() > 0.8  # they differ on ramps


def test_a_video_without_a_set_or_shorter_than_a_region_has_predictions(run):
  out = run(X, np.array([48, 3]))
  assert "losses" not in out and (out["predictions"]["y"][1] >= 0).sum() == 3
  blank = run(X, np.array([48, 0]), SETS * np.array([[1], [0]]))  # padding of a batch
  assert all(np.isfinite(v).all() for v in blank["losses"].values())


def test_gradients_are_finite_and_reach_every_parameter(variables):
  model = small(dtype=jnp.bfloat16, temperature=1.0, points=4)

  @jax.jit
  @jax.grad
  def gradient(params):
    out = model.apply({"params": params}, X, LENGTHS, SETS, train=True, rngs={"dropout": jax.random.PRNGKey(0)})
    assert "predictions" not in out
    return sum(v.sum() for v in out["losses"].values())

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
    assert np.isfinite(leaf).all() and leaf.any(), path


def test_sites_of_the_trunk_are_passed_in_their_order():
  promises.visits_every_site(small(), X)


def test_a_wrong_choice_is_named():
  with pytest.raises(errors.ConfigError, match="sct: sparsity = 'l2' is not one of l1, l1_weighted, entropy"):
    vidx.create_model("sct", sparsity="l2")
