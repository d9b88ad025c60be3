import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from tests.systems import test_t2vlad as t2vlad
from vidx import errors, systems
from vidx.nn import ranking
from vidx.systems.expert_encoders import CollaborativeGates, ExpertTransformer

X, B = t2vlad.X, t2vlad.B
TOKENS, MASKS = X[2:5], X[5:]  # the second video has no third expert
WHOLES = [np.where(m.any(1, keepdims=True), np.where(m[..., None] > 0, x, -9).max(1), 0).astype("f")
          for x, m in zip(TOKENS, MASKS)]
C = 8
GATES = CollaborativeGates(C)
TRANSFORMER = ExpertTransformer(C, 2, 2, 12, 4)
BOTH = pytest.mark.parametrize("model", [GATES, TRANSFORMER], ids=["gates", "transformer"])
SYSTEMS = {"ce": dict(temporal_agg={"audio": "vlad", "rgb": "mean"}),
           "mmt": dict(embed=C, mixing_fields=dict(depth=1, heads=2, hidden=12))}
NAMED = pytest.mark.parametrize("name", SYSTEMS)


@functools.cache
def variables_of(model):
  """Of an encoder that is called with lists."""
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), TOKENS, MASKS, WHOLES)
  rng = np.random.default_rng(0)
  draw = lambda path, s: rng.uniform(0.5, 1.5, s.shape) if path[-1].key in ("var", "scale") else (
      rng.normal(size=s.shape) * 0.5)
  return jax.tree_util.tree_map_with_path(lambda p, s: draw(p, s).astype("f"), shapes)


def run(model, tokens, masks, wholes):
  return np.asarray(jax.jit(model.apply)(variables_of(model), tokens, masks, wholes))


@functools.cache
def made(name, **fields):
  model = systems.create_model(name, **{**t2vlad.TINY, **SYSTEMS[name], **fields})
  return model, promises.some_variables(model, *map(jnp.asarray, X))


def unit(x):
  return x / np.maximum(np.linalg.norm(x), 1e-12)


def dense(x, p):
  p = p.get("dense", p)
  return x @ np.asarray(p["kernel"], np.float64) + np.asarray(p["bias"], np.float64)


def mish(x):
  return x * np.tanh(np.log1p(np.exp(x)))


def gates_by_loops():
  """What the module says, an expert of a video and a partner at a time."""
  v = variables_of(GATES)
  p, stats = v["params"], v["batch_stats"]
  norm = lambda x, name: (x - stats[name]["mean"]) / np.sqrt(stats[name]["var"] + 1e-5) * p[name]["scale"] + (
      p[name]["bias"])
  out = np.zeros((B, 3, C))
  for b in range(B):
    there = [i for i in range(3) if MASKS[i][b].any()]
    x = {i: unit(dense(WHOLES[i][b].astype(np.float64), p[f"project_{i}"])) for i in there}
    for n in there:
      pairs = []
      for m in there:
        y = dense(np.concatenate([x[n], x[m]]), p["pair_0"])
        for i in (1, 2):
          y = dense(mish(norm(y, f"pair_norm_{i}")), p[f"pair_{i}"])
        pairs.append(y)
      gate = norm(np.mean(pairs, 0), f"met_norm_{n}") + norm(dense(x[n], p[f"gate_{n}"]), f"gate_norm_{n}")
      out[b, n] = unit(x[n] / (1 + np.exp(-gate)))
  return out


def layer_norm(x, p, eps=1e-12):
  return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * p["scale"] + p["bias"]


def transformer_by_loops():
  """Each video alone, of its live tokens alone, a head at a time."""
  p = variables_of(TRANSFORMER)["params"]
  out = np.zeros((B, 3, C))
  erf = lambda x: np.asarray(jax.scipy.special.erf(x), np.float64)
  for b in range(B):
    rows, read = [p["kinds"]["embedding"][0] + p["places"]["embedding"][0]], {}
    for i in range(3):
      if not MASKS[i][b].any():
        continue
      read[i] = len(rows)
      for place, x in enumerate([WHOLES[i][b], *TOKENS[i][b][MASKS[i][b] > 0]]):
        rows.append(unit(dense(x, p[f"project_{i}"])) + p["kinds"]["embedding"][i + 1]
                    + p["places"]["embedding"][min(place, 3)])
    x = layer_norm(np.array(rows, np.float64), p["norm"])
    for block in (p["block0"], p["block1"]):
      q, k, v = np.split(dense(x, block["attn"]["qkv"]), 3, -1)
      heads = []
      for h in np.split(np.arange(C), 2):
        scores = np.exp(q[:, h] @ k[:, h].T / (C // 2) ** 0.5)
        heads.append(scores / scores.sum(-1, keepdims=True) @ v[:, h])
      x = layer_norm(x + dense(np.concatenate(heads, -1), block["attn"]["proj"]), block["norm1"])
      y = dense(x, block["mlp"]["fc1"])
      x = layer_norm(x + dense(y * (1 + erf(y / 2 ** 0.5)) / 2, block["mlp"]["fc2"]), block["norm2"])
    for i, row in read.items():
      out[b, i] = unit(x[row])
  return out


@pytest.mark.parametrize("model, loops", [(GATES, gates_by_loops), (TRANSFORMER, transformer_by_loops)],
                         ids=["gates", "transformer"])
def test_an_encoder_equals_the_loop_and_is_zero_where_an_expert_is_missing(model, loops):
  out = run(model, TOKENS, MASKS, WHOLES)
  assert out.dtype == np.float32 and out.shape == (B, 3, C) and not out[1, 2].any()
  np.testing.assert_allclose(out, loops(), atol=1e-4)


@BOTH
def test_padding_and_other_examples_change_nothing(model):
  out = run(model, TOKENS, MASKS, WHOLES)
  wide = [np.concatenate([x, np.full((B, 2, x.shape[2]), 7, "f")], 1) for x in TOKENS]
  dead = [np.concatenate([m, np.zeros((B, 2), "f")], 1) for m in MASKS]
  np.testing.assert_allclose(run(model, wide, dead, WHOLES), out, atol=1e-5)
  np.testing.assert_allclose(run(model, *([x[:1] for x in xs] for xs in (TOKENS, MASKS, WHOLES)))[0], out[0],
                             atol=1e-5)


@BOTH
def test_what_a_missing_expert_holds_reaches_nothing(model):
  out = run(model, TOKENS, MASKS, WHOLES)
  tokens, wholes = [x.copy() for x in TOKENS], [x.copy() for x in WHOLES]
  tokens[2][1], wholes[2][1] = 9, 9
  np.testing.assert_array_equal(run(model, tokens, MASKS, wholes), out)


def test_places_count_for_the_transformer_as_far_as_there_are_some():
  masks = [np.ones_like(m) for m in MASKS]
  swapped = lambda a, b: [x[:, [{a: b, b: a}.get(i, i) for i in range(x.shape[1])]] if x.shape[1] > 4 else x
                          for x in TOKENS]
  out = run(TRANSFORMER, TOKENS, masks, WHOLES)
  assert np.abs(run(TRANSFORMER, swapped(0, 1), masks, WHOLES) - out).max() > 1e-3
  np.testing.assert_allclose(run(TRANSFORMER, swapped(3, 4), masks, WHOLES), out, atol=1e-5)  # both in the last place


def test_statistics_of_gates_are_of_experts_that_are_there():
  variables = variables_of(GATES)
  train = jax.jit(lambda *x: GATES.apply(variables, *x, True, mutable=["batch_stats"]))
  whole, stats = train(TOKENS, MASKS, WHOLES)
  wholes = [w.copy() for w in WHOLES]
  wholes[2][1] = 50
  other, others = train(TOKENS, MASKS, wholes)
  np.testing.assert_array_equal(other, whole)
  jax.tree.map(np.testing.assert_array_equal, others, stats)


@pytest.mark.parametrize("name, total, parts", [
    ("ce", 262_805_466, dict(text_centres=43_834, text_gates=136_863_744, mixer=16_827_648, weights=172_040)),
    ("mmt", 133_670_151, dict(text_centres=0, text_gates=4_601_856, mixer=20_171_264, weights=5_383))])
def test_a_system_has_the_parameters_of_its_layers(name, total, parts):
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in systems.rows()[name].inputs]
  params = jax.eval_shape(vidx.create_model(name, depth=0).init, jax.random.PRNGKey(0), *shapes)["params"]
  size = lambda prefix: sum(p.size for k, v in params.items() if k.startswith(prefix) for p in jax.tree.leaves(v))
  assert {k: size(k) for k in parts} == parts
  assert size("") + 12 * 7_087_872 == total  # and the blocks of BERT


@NAMED
def test_a_system_learns_everything_that_it_has(name):
  model, variables = made(name)
  found = t2vlad.gradients(model, variables)
  dead = {k for k, g in found.items() if np.abs(g).max() < 1e-9}
  # A bias in front of batch statistics moves nothing, nor does one that is the same for all keys.
  allowed = ("segments", "gate/dense/bias", "qkv/bias", "pair_0/dense/bias", "pair_1/dense/bias", "pair_2/dense/bias")
  assert all(any(a in n for a in allowed) or n.startswith("mixer/gate_") and n.endswith("bias") for n in dead), dead


@NAMED
def test_a_system_scores_lowers_and_is_near_in_half_precision(name):
  model, variables = made(name)
  text, video = t2vlad.halves(t2vlad.run(model, variables, *X))
  assert video["global"].shape == (B, 3, C if name == "mmt" else 16) and set(text) == {"global", "weights"}
  np.testing.assert_allclose(np.linalg.norm(video["global"], axis=-1)[video["available"] > 0], 1, rtol=1e-5)
  half, _ = made(name, dtype=jnp.bfloat16)
  a, b = (ranking.scores(*t2vlad.halves(t2vlad.run(m, variables, *X))) for m in (model, half))
  assert b.dtype == jnp.float32 and np.abs(np.asarray(a - b)).max() < 0.05 and np.abs(a).max() <= 1 + 1e-6
  promises.lowers_for_accelerators(half, *map(jnp.asarray, X))


def test_experts_are_joined_as_each_is_named():
  model, variables = made("ce")
  assert model.temporal_agg == ("mean", "max", "vlad") and set(variables["params"]) >= {"aggregators_2", "mixer"}
  assert "aggregators_0" not in variables["params"] and "video_gates_0" not in variables["params"]


@pytest.mark.parametrize("fields, message", [
    (dict(mixing="gate"), "nearest: 'gates'"), (dict(mixing_fields=dict(layer=3)), "mixing_fields"),
    (dict(temporal_agg=dict(sound="max")), "temporal_agg: expert"),
    (dict(temporal_agg=dict(rgb="sum")), "temporal_agg"),
    (dict(mixing="transformer", temporal_agg="vlad"), "as wide as tokens")])
def test_a_wrong_field_is_one_clear_line(fields, message):
  with pytest.raises(errors.ConfigError, match=message):
    systems.create_model("t2vlad", **{**t2vlad.TINY, "mixing": "gates", **fields})
