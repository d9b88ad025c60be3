import functools
import math

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import AdaptiveTokenSampler, TokenReorganization
from vidx.nn.attention import Heads
from vidx.nn.token_sampling import hits, keep_rows, samples_by_count, significance
from vidx.nn.transformer import Block

B, N, D, H = 4, 12, 8, 2
ROOM = 24  # samples at most

sampled = jax.jit(hits, static_argnames=("most", "rule", "grid", "order"))


def some_scores(seed, examples=40, tokens=N):
  """Scores of live tokens that add up to 1, and which are live, in random places."""
  rng = np.random.default_rng(seed)
  live = rng.random((examples, tokens)) < 0.7
  live[:, rng.integers(tokens, size=3)] = True
  scores = np.where(live, 0.01 + rng.random((examples, tokens)) ** 4, 0)
  return (scores / scores.sum(-1, keepdims=True)).astype("f"), live


def sampled_by_loops(scores, live, count, rule, grid, order, draws):
  """Samples per token of one example, in double precision."""
  found = np.zeros(len(scores), int)
  rows = list(np.flatnonzero(live))
  if order == "score" or rule == "topk":
    rows.sort(key=lambda j: scores[j])
  if rule == "topk":
    found[rows[-count:]] = 1
    return found
  psi = np.cumsum(scores[rows], dtype=np.float64)
  psi /= psi[-1]
  points = [(2 * i - 1) / (2 * count) for i in range(1, count + 1)]
  if grid == "random":
    points = draws[:count]
  if grid == "public":
    psi = (psi - psi.min()) / (psi.max() - psi.min())
    points = np.linspace(sorted(psi)[1], 1, count)
  for k in points:
    j = np.argmin(np.abs(psi - k)) if rule == "nearest" else next(j for j in range(len(rows)) if psi[j] >= k - 1e-9)
    found[rows[j]] += 1
  return found


@pytest.mark.parametrize("rule, grid, order", [
    ("inverse", "midpoint", "index"), ("inverse", "random", "index"), ("inverse", "midpoint", "score"),
    ("inverse", "public", "score"), ("nearest", "midpoint", "index"), ("nearest", "public", "score"),
    ("topk", "midpoint", "index")])
def test_samples_are_those_of_the_loop(rule, grid, order):
  scores, live = some_scores(1)
  draws = np.random.default_rng(2).random(ROOM).astype("f")
  for count in (1 if grid != "public" else 3, 5, 20 if rule != "topk" else 4):
    found = sampled(scores, live, np.full(len(scores), count), ROOM, rule, grid, order, draws)
    expected = [sampled_by_loops(s, l, min(count, l.sum()) if rule == "topk" else count, rule, grid, order, draws)
                for s, l in zip(scores, live)]
    np.testing.assert_array_equal(found, expected)


def test_equal_scores_keep_all_and_a_dominant_token_is_the_only_one():
  for n in (1, 7, 16, 196, 197, 1568):
    equal = np.full((1, n), 1 / n, "f")
    np.testing.assert_array_equal(sampled(equal, equal > 0, np.array([n]), n), np.ones((1, n)))
    one = np.eye(n, dtype="f")[[n // 2]]
    np.testing.assert_array_equal(sampled(one, one >= 0, np.array([n]), n), n * one)


def test_what_is_known_of_the_samples_holds():
  rng = np.random.default_rng(3)
  scores = (rng.random((300, 30)) ** rng.choice([0.3, 1, 4], (300, 1))).astype("f")
  scores[rng.random(scores.shape) < 0.1] = 0
  scores /= scores.sum(-1, keepdims=True)
  count = 20
  found = np.asarray(sampled(scores, scores >= 0, np.full(300, count), count))
  assert (found.sum(-1) == count).all() and not found[scores == 0].any()
  kept = (found > 0).sum(-1)
  assert (kept[(scores >= 2 / count).any(-1)] < count).all()
  assert (scores.max(-1) <= 1 / count).sum() > 5 and (kept[scores.max(-1) <= 1 / count] == count).all()
  for i, j in ((0, 5), (3, 4), (10, 29)):  # tokens of a group are sampled as its mass says
    assert np.abs(found[:, i:j].sum(-1) - count * scores[:, i:j].sum(-1)).max() <= 1 + 1e-4


def test_redundant_tokens_are_not_all_lost():
  scores = np.array([[0.035] * 20 + [0.03] * 10], "f")
  assert np.asarray(sampled(scores, scores > 0, np.array([20]), 20))[0, 20:].sum() == 6
  assert np.asarray(sampled(scores, scores > 0, np.array([20]), 20, "topk"))[0, 20:].sum() == 0


def test_a_permutation_of_tokens_permutes_what_does_not_cumulate_by_index():
  scores, live = some_scores(4)
  order = np.random.default_rng(5).permutation(N)
  same = {}
  for rule, by in (("topk", "index"), ("inverse", "score"), ("inverse", "index")):
    run = lambda s, l: np.asarray(sampled(s, l, np.full(len(s), 6), ROOM, rule, "midpoint", by))
    same[rule, by] = (run(scores[:, order], live[:, order]) == run(scores, live)[:, order]).all()
  assert same == {("topk", "index"): True, ("inverse", "score"): True, ("inverse", "index"): False}


def test_the_number_of_samples_follows_the_live_tokens():
  assert samples_by_count(1.0, 196)[[0, 5, 196]].tolist() == [0, 5, 196]
  assert samples_by_count(0.865, 196)[[6, 9, 196]].tolist() == [6, 8, 170]
  assert samples_by_count(108, 196)[[50, 196]].tolist() == [50, 108]
  assert samples_by_count(196, 196, oversample=True)[[50, 196]].tolist() == [196, 196]


# ---------------------------------------------------------------- inside a block


@functools.cache
def block(*factories):
  """A block with a plug-in, compiled: (variables, x, mask) -> (tokens, mask), what it left in `maps`."""
  model = Block("block", H, **({"sites": {"block.heads": factories}} if factories else {}))
  run = jax.jit(lambda v, x, mask: model.apply(v, x, mask, mutable=["maps"]))
  return model, lambda *given: jax.device_get(run(*given))


def with_(kind=AdaptiveTokenSampler, **fields):
  return functools.partial(kind, **fields)


@pytest.fixture(scope="module")
def tokens():
  x = promises.some_input((B, N, D))
  mask = np.random.default_rng(0).random((B, N)) < 0.75
  mask[0] = mask[:, 0] = True
  variables = promises.some_variables(block()[0], x)
  variables["params"]["attn"]["qkv"]["kernel"] *= 3  # attention that differs
  return jax.device_get(variables), np.asarray(x), mask


def block_by_loops(variables, x, mask, keep, fuse=None):
  """Tokens after a block whose attention matrix is built whole and cut to the rows that `keep(A, V)` names."""
  p = jax.tree.map(np.asarray, variables["params"])
  norm = lambda z, n: ((z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-6)
                       * p[n]["scale"] + p[n]["bias"])
  dense = lambda z, q: z @ q["kernel"] + q["bias"]
  x = np.asarray(x)[mask]
  q, k, v = (z.reshape(len(x), H, -1) for z in np.split(dense(norm(x, "norm1"), p["attn"]["qkv"]), 3, -1))
  scores = np.einsum("qhd,khd->hqk", q, k) / (D // H) ** 0.5
  a = np.exp(scores - scores.max(-1, keepdims=True))
  a /= a.sum(-1, keepdims=True)
  rows = keep(a, v)
  y = dense(np.einsum("hqk,khd->qhd", a, v).reshape(len(x), D), p["attn"]["proj"])
  left = (x + y)[rows]
  if fuse:
    others = np.setdiff1d(np.arange(len(x)), rows)
    left = np.concatenate([left, (a[:, 0].mean(0)[others, None] * (x + y)[others]).sum(0, keepdims=True)])
  hidden = dense(norm(left, "norm2"), p["mlp"]["fc1"])
  return left + dense(hidden * (1 + np.vectorize(math.erf)(hidden / 2 ** 0.5)) / 2, p["mlp"]["fc2"])


def kept_by_loops(a, v, score="cls", value_norm="per_head", rule="inverse", share=1.0, **_):
  """The CLS and the tokens that equations 7.3 to 7.5 name."""
  n = a.shape[-1]
  s = np.zeros((H, n))
  for j in range(1, n):
    for h in range(H):
      weight = a[h, 0, j] if score == "cls" else a[h, :, j].sum()
      s[h, j] = weight * {"concat": np.linalg.norm(v[j]), "none": 1}.get(value_norm, np.linalg.norm(v[j, h]))
  if value_norm == "per_head_normalised":
    s /= s.sum(1, keepdims=True)
  s = s.sum(0) / s.sum()
  count = min(max(int(share * (n - 1) + 0.5), 3), n - 1)
  if rule == "topk":
    return [0, *sorted(1 + np.argsort(-s[1:])[:count])]
  psi = np.cumsum(s[1:])
  return [0, *sorted({1 + next(j for j in range(n - 1) if psi[j] >= (2 * i - 1) / (2 * count) - 1e-9)
                      for i in range(1, count + 1)})]


@pytest.mark.parametrize("fields", [
    dict(), dict(value_norm="concat", share=0.6), dict(value_norm="per_head_normalised", share=0.6),
    dict(value_norm="none", score="self", share=0.6),
    dict(rule="topk", share=0.5)])
def test_a_block_equals_the_one_that_cuts_the_attention_matrix(tokens, fields):
  variables, x, mask = tokens
  options = {k: v for k, v in fields.items() if k != "share"}
  (y, live), state = block(with_(keep=fields.get("share", 1.0), least=3, **options))[1](variables, x, mask)
  for b in range(B):
    own = np.asarray(mask[b])
    seen = []
    expected = block_by_loops(variables, x[b], own, lambda a, v: seen.append(kept_by_loops(a, v, **fields)) or seen[0])
    assert int(live[b].sum()) == len(expected) and bool(live[b, :len(expected)].all())
    np.testing.assert_allclose(y[b, :len(expected)], expected, rtol=1e-4, atol=1e-5)
    shown = {path[-1]: arrays[0][b] for path, arrays in traverse_util.flatten_dict(state["maps"]).items()}
    np.testing.assert_array_equal(np.flatnonzero(shown["kept"]), np.flatnonzero(own)[seen[0]])
    np.testing.assert_array_equal(shown["rows"][:len(expected)], np.flatnonzero(own)[seen[0]])
    assert (shown["rows"][len(expected):] == -1).all()


@pytest.mark.parametrize("fuse", [True, False])
def test_the_fixed_share_with_the_rest_in_one_token_equals_the_loop(tokens, fuse):
  variables, x, mask = tokens
  y, live = block(with_(TokenReorganization, keep=0.6, fuse=fuse))[1](variables, x, mask)[0]
  for b in range(B):
    n = int(mask[b].sum())
    count = int(np.ceil(round(0.6 * (n - 1), 6)))
    keep = lambda a, v: [0, *sorted(1 + np.argsort(-a[:, 0, 1:].mean(0))[:count])]
    expected = block_by_loops(variables, x[b], np.asarray(mask[b]), keep, fuse)
    assert int(live[b].sum()) == len(expected) == 1 + count + fuse
    np.testing.assert_allclose(y[b, :len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_the_cls_is_that_of_the_plain_block_and_equal_scores_change_nothing(tokens):
  variables, x, mask = tokens
  plain = block()[1](variables, x, mask)[0][0]
  np.testing.assert_allclose(block(with_())[1](variables, x, mask)[0][0][:, 0], plain[:, 0], rtol=1e-5, atol=1e-6)
  y, live = block(with_(score="uniform"))[1](variables, x, mask | True)[0]
  assert bool(live.all())
  np.testing.assert_allclose(y, block()[1](variables, x, mask | True)[0][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fields", [
    dict(), dict(keep=5), dict(keep=0.6, rule="topk", score="random"), dict(grid="random", score="random_token"),
    dict(rule="nearest", grid="public", order="score", value_norm="concat", keep=11, oversample=True),
    dict(score="self", cls_enforced=False), dict(kind=TokenReorganization)])
def test_the_choice_is_the_same_with_dead_tokens_among_and_behind_live_ones(fields):
  rng = np.random.default_rng(6)
  q, k, v = rng.normal(size=(3, B, N, H, 4)).astype("f") * 2
  mask = rng.random((B, N)) < 0.7
  mask[:, 0] = True
  order = np.argsort(~mask, axis=1, kind="stable")[:, :mask.sum(-1).max()]
  front = [np.take_along_axis(z, order[..., None, None], 1) for z in (q, k, v)]
  run = jax.jit(lambda *h: with_(**fields)().apply({}, Heads(*h, scale=0.5)))
  wild = [np.where(mask[..., None, None], z, np.float32(9)) for z in (q, k, v)]
  spread, packed = jax.device_get(
      (run(*wild, mask), run(*front, np.arange(order.shape[1]) < mask.sum(-1, keepdims=True))))
  for b in range(B):
    n = int(packed.live[b].sum())
    assert n == spread.live[b].sum() and spread.live[b, :n].all() and packed.live[b, :n].all()
    last = n - (fields.get("kind") is not None)  # the fused token stands for no row
    np.testing.assert_array_equal(spread.rows[b, :last], order[b][packed.rows[b, :last]])


def test_room_behind_live_tokens_may_be_cut_between_blocks(tokens):
  variables, x, mask = tokens
  run = block(with_(keep=0.6, least=3))[1]
  y, live = run(variables, x, mask)[0]
  most = int(live.sum(-1).max())
  assert most < y.shape[1]
  whole, left = run(variables, np.where(live[..., None], y, np.float32(1e3)), live)[0]
  cut, left_cut = run(variables, y[:, :most], live[:, :most])[0]
  for b in range(B):
    n = int(left[b].sum())
    assert n == int(left_cut[b].sum())
    np.testing.assert_allclose(whole[b, :n], cut[b, :n], rtol=1e-5, atol=1e-5)


def test_gradients_reach_the_parameters_and_not_the_choice(tokens):
  variables, x, mask = tokens
  model, _ = block(with_(keep=0.5, least=3))
  grads = jax.jit(jax.grad(
      lambda v: (jnp.where(mask[:, :1, None], model.apply(v, x, mask)[0], 0) ** 2).sum()))(variables)
  assert all(np.isfinite(g).all() and np.any(g) for g in jax.tree.leaves(grads))
  heads = Heads(*(jnp.ones((1, 3, 1, 2)) for _ in range(3)))
  slopes = jax.grad(lambda k: AdaptiveTokenSampler().apply({}, heads.replace(k=k, q=k)).q.sum())
  chosen = jax.jit(slopes)(heads.k)
  assert chosen.shape == heads.k.shape


def some_frames(seed=0):
  q, k, v = np.random.default_rng(seed).normal(size=(3, 2, 3, N, H, 4)).astype("f") * 2
  mask = np.ones((2, 3, N), bool)
  mask[1, 2] = False  # a dead frame
  mask[1, :, 0] = True
  return Heads(q, k, v, mask, scale=0.5)


def test_frames_may_share_places_or_keep_what_any_of_them_keeps():
  heads = some_frames()
  sample = lambda mode: jax.jit(lambda h: AdaptiveTokenSampler(keep=4, over_frames=mode).apply({}, h))(heads)
  run = lambda mode: jax.device_get(sample(mode))
  apart, union, tube = run("apart"), run("union"), run("tube")
  chosen = lambda h, b, t: set(h.rows[b, t][h.live[b, t]].tolist())
  for b in range(2):
    places = set()
    for t in range(3):
      assert chosen(union, b, t) == chosen(apart, b, t)
      places |= chosen(apart, b, t)
      np.testing.assert_array_equal(union.rows[b, t], union.rows[b, 0])
    assert places == set(union.rows[b, 0][:len(places)].tolist())
    assert not union.live[b][:, len(places):].any()
  assert chosen(apart, 1, 2) == chosen(tube, 1, 2) == {0}
  np.testing.assert_array_equal(tube.rows, np.broadcast_to(tube.rows[:, :1], tube.rows.shape))
  scores = np.asarray(jax.jit(significance)(heads, heads.mask), np.float64)[..., 1:]
  for b, frames in ((0, 3), (1, 2)):
    mean = np.mean([s / s.sum() for s in scores[b, :frames]], 0)
    expected = np.flatnonzero(sampled_by_loops(mean, mean > 0, 4, "inverse", "midpoint", "index", None)) + 1
    assert chosen(tube, b, 0) == {0, *expected.tolist()}


def test_tokens_that_are_all_worth_nothing_are_kept_evenly():
  heads = some_frames().replace(v=jnp.zeros((2, 3, N, H, 4)))
  left = jax.device_get(jax.jit(lambda h: AdaptiveTokenSampler().apply({}, h))(heads))
  assert left.live[0].all() and left.live[1, 2].sum() == 1


def test_what_is_random_is_the_same_for_all_examples_and_new_in_every_step_of_training():
  heads = some_frames()
  sampler = AdaptiveTokenSampler(keep=4, rule="topk", score="random")
  evaluated = lambda sampler: np.asarray(jax.jit(lambda h: sampler.apply({}, h).rows)(heads))
  trained = jax.jit(lambda h, key: sampler.apply({}, h, True, rngs={"dropout": key}).rows)
  rows = evaluated(sampler)
  np.testing.assert_array_equal(rows[0, 0], rows[1, 1])
  drawn = [np.asarray(trained(heads, jax.random.PRNGKey(s)))[0, 0].tolist() for s in (0, 0, 1)]
  assert drawn[0] == drawn[1] != drawn[2]
  assert evaluated(sampler.clone(seed=1))[0, 0].tolist() != rows[0, 0].tolist()


def test_rows_are_put_in_front():
  left = jax.device_get(jax.jit(keep_rows, static_argnums=2)(some_frames(), np.arange(N) % 5 == np.zeros((2, 3, 1)), 4))
  np.testing.assert_array_equal(left.rows[0, 0], [0, 5, 10, 1])
  np.testing.assert_array_equal(left.live[1, 1], [True, True, True, False])


@pytest.mark.parametrize("fields, words", [
    (dict(score="attention"), "score = 'attention' is not one of cls, self"),
    (dict(rule="topk", over_frames="all"), "over_frames = 'all' is not one of apart, union, tube"),
    (dict(keep=1.5), "keep = 1.5"), (dict(keep=0), "keep = 0"), (dict(cls_enforced=False), "needs the score 'self'")])
def test_a_wrong_field_is_named(fields, words):
  with pytest.raises(ValueError, match=words):
    AdaptiveTokenSampler(**fields)
