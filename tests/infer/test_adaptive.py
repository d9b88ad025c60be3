import itertools
import json
import types

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.data import tiny
import vidx
from vidx.data import pipeline
from vidx.infer import adaptive, savings
from vidx.measure.count import count
from vidx.nn import compaction


class Brightest(nn.Module):
  """Drops frames that are darker than the clip."""

  @nn.compact
  def __call__(self, x, mask=None, train=False):
    level = x.astype(jnp.float32).mean((2, 3, 4))
    mask = jnp.ones(level.shape, bool) if mask is None else mask.astype(bool)
    mean = (level * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)
    rows, live = compaction.live_first(mask & (level >= mean))
    return compaction.take(x, rows), live


class Loudest(nn.Module):
  """Drops tokens whose keys are shorter than the mean, never the CLS."""

  @nn.compact
  def __call__(self, heads, mask=None, train=False):
    level = (heads.k.astype(jnp.float32) ** 2).sum((-1, -2))
    mask = jnp.ones(level.shape, bool) if mask is None else mask
    mean = (level * mask).sum(-1, keepdims=True) / mask.sum(-1, keepdims=True)
    rows, live = compaction.live_first((mask & (level >= mean)).at[..., 0].set(True))
    axis = rows.ndim - 1
    return heads.replace(q=compaction.take(heads.q, rows, axis), mask=mask, rows=rows, live=live)


TINY = dict(num_classes=3, dropout=0.0)
VIT = dict(TINY, image=16, patch=4, dim=16, depth=3, heads=2, num_classes=3)
CASES = {
    "frames": ("r3d_18", (8, 16, 16, 3), dict(TINY, stages=(1, 1, 1), width=8, strides=(1, 2, 2), widths=(),
                                              time_strides=(1, 1, 1), sites={"stem": Brightest, "res3": Brightest})),
    "pathways": ("slowfast_r50_8x8", (8, 16, 16, 3), dict(TINY, stages=(1, 1), width=8, strides=(1, 2), beta=2, alpha=2,
                                                         slow_temporal=(1, 1), fast_temporal=(1, 1),
                                                         sites={"*.res2": Brightest})),
    "tokens": ("deit_ti", (2, 16, 16, 3), dict(VIT, sites={"block1.heads": Loudest, "block2.heads": Loudest})),
    "divided": ("timesformer_b", (2, 16, 16, 3), dict(VIT, frames=2, sites={"block[12].heads": Loudest})),
}


def made(case, seed=0):
  name, shape, fields = CASES[case]
  model = vidx.create_model(name, **fields)
  x = np.random.default_rng(seed).normal(size=(13, *shape)).astype("f")
  variables = jax.jit(model.init)(jax.random.PRNGKey(1), x[:1])
  return model, variables, x


@pytest.mark.parametrize("case, host", [("frames", True), ("frames", False), ("pathways", True), ("tokens", True),
                                        ("tokens", False), ("divided", True)])
def test_groups_of_like_lengths_get_what_the_whole_model_gives(case, host):
  model, variables, x = made(case)
  want = jax.jit(lambda v, x: model.apply(v, x))(variables, x)
  runner = adaptive.Adaptive(model, variables, group=4, rungs=2, host=host)
  got, counts = runner.run([x[:5], x[5:10], x[10:]])
  assert runner.cuts > 0 and set(counts) == set(runner.macs.places)
  assert all(found.shape == (13,) for found in counts.values())
  assert len(np.unique(counts[runner.macs.places[0]])) > 1  # else nothing is regrouped
  assert (runner.macs(counts) < runner.macs.dense).all()
  for key in want:
    np.testing.assert_allclose(got[key], want[key], rtol=1e-4, atol=1e-5)


def test_a_cpu_takes_a_group_as_it_lies_in_memory():
  entries = [np.full((3, 5), i, np.float32) for i in range(3)]
  group = adaptive._stacked(entries, 4)
  assert group.ctypes.data % adaptive._ALIGNED == 0
  np.testing.assert_array_equal(group, np.stack([*entries, np.zeros((3, 5))]))
  taken = jax.device_put(group, jax.devices("cpu")[0], may_alias=True)
  assert taken.unsafe_buffer_pointer() == group.ctypes.data


def test_calibration_chooses_few_capacities_that_hold_every_length():
  model, variables, x = made("frames")
  runner = adaptive.Adaptive(model, variables, group=4, rungs=2)
  before, counts = runner.run([x])
  runner.calibrate([x], points=2)
  for rungs, found in zip(runner.ladders, counts.values(), strict=True):
    assert len(rungs[0]) <= 3 and rungs[0][-1] == 8 and set(rungs[0]) & set(found)
  after, _ = runner.run([x[:7], x[7:]])
  np.testing.assert_allclose(after["logits"], before["logits"], rtol=1e-4, atol=1e-5)


def test_a_trunk_without_samplers_is_one_segment():
  model = vidx.create_model("r3d_18", **TINY, stages=(1,), width=8, strides=(1,), time_strides=(1,))
  x = jnp.ones((2, 2, 8, 8, 3))
  runner = adaptive.Adaptive(model, jax.jit(model.init)(jax.random.PRNGKey(0), x))
  got, counts = runner.run([x])
  assert runner.cuts == 0 and counts == {} and got["logits"].shape == (2, 3)


def test_the_ladder_is_the_cheapest_of_all():
  counts = np.random.default_rng(0).integers(1, 12, 40)
  cost = lambda n: 2.0 + np.asarray(n) ** 1.5
  for rungs in (1, 2, 3):
    found = adaptive.ladder(counts, cost, rungs)
    price = lambda ladder: sum(cost(min(r for r in ladder if r >= n)) for n in counts)
    sizes = sorted(set(counts))
    best = min(price((*some, sizes[-1])) for some in itertools.combinations(sizes[:-1], rungs - 1))
    assert len(found) == rungs and price(found) == pytest.approx(best)


def test_a_ladder_has_no_more_capacities_than_the_slack_asks_for():
  counts, cost = np.repeat([4, 8, 12], 5), lambda n: np.asarray(n, float)
  assert adaptive.ladder(counts, cost, 8) == (4, 8, 12)
  assert adaptive.ladder(counts, cost, 8, slack=0.2) == (4, 12)  # 28 for 24
  assert adaptive.ladder(counts, cost, 8, slack=0.5) == (12,)


def test_savings_stand_beside_the_same_model_without_samplers():
  model, variables, x = made("tokens")
  found = savings.measure(adaptive.Adaptive(model, variables, group=4, rungs=2), [x[:6], x[6:12]])
  plain = savings.without_samplers(model, list(found.counts))
  assert not plain.sites and jax.eval_shape(plain.apply, variables, x[:1])["logits"].shape == (1, 3)
  assert found.dense_macs == count(plain, jax.ShapeDtypeStruct(x[:1].shape, x.dtype)).macs
  assert found.macs.shape == (12,) and 0 < found.counted_saving < 1
  row = json.loads(json.dumps(found.to_json()))
  assert row["mean_counts"].keys() == found.counts.keys() and len(row["gmacs_deciles"]) == 11
  assert all(sum(n for _, n in pairs) == 12 for pairs in row["counts"].values())
  assert "% of the time" in "\n".join(found.lines())


@pytest.mark.parametrize("key, channels", [("video", 3), ("flow", 2)])
@pytest.mark.parametrize("sites, measured", [({"stem": Brightest}, True),
                                             ({"stem": lambda **_: nn.LayerNorm()}, False)])
def test_savings_of_a_split_are_of_the_clips_that_a_run_sees(key, channels, sites, measured, monkeypatch, tmp_path):
  class Batches(list):
    close = lambda self: None

  data = tiny.data_config(crop=16, flow="flow/{name}/{axis}_{index}.jpg" if key == "flow" else "")
  clips = np.random.default_rng(0).integers(256, size=(3, 1, 4, 16, 16, channels), dtype=np.uint8)
  decoded = []
  monkeypatch.setattr(pipeline, "eval_batches", lambda *_, **__: decoded.append(1) or Batches(
      [{key: clips, "weight": np.ones(3, "f")}]))
  fields = dict(TINY, stages=(1,), width=8, strides=(1,), widths=(), time_strides=(1,))
  model = vidx.create_model("r3d_18", **fields, sites=sites)
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), np.zeros((1, 4, 16, 16, channels), "f"))
  loaded = types.SimpleNamespace(model=model, variables=variables, dtype=jnp.float32,
                                 config=types.SimpleNamespace(data=data))
  found = savings.of_split(loaded, tiny.dataset(tmp_path, 3), batch_size=3)
  assert (found is not None, bool(decoded)) == (measured, measured)
  assert not measured or found.macs.shape == (3,)
