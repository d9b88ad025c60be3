import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.similarity_sampling import (
    CHOICES, SimilarityGuidedSampling, deal, deal_grid, measured, sampling_matrix, spherical)

KERNELS = CHOICES["kernel"]


def merge(*given, **fields):
  return jax.device_get(compiled(*given, **fields))


@functools.partial(jax.jit, static_argnames=("bins", "kernel", "edge", "capacity", "order"))
def compiled(delta, live, bins, kernel="linear", edge="centre", capacity=0, order="similarity"):
  dealt = deal(delta, live, bins, kernel, edge)
  return *sampling_matrix(dealt, bins, capacity or min(bins, delta.shape[1]),
                          kernel in ("kronecker", "linear_normalized"), order), dealt


def merged_by_loops(x, delta, bins, kernel, edge, order="similarity"):
  """The equations, bin by bin and frame by frame, for one clip in double precision."""
  gamma = max(delta.max(), 1e-6) / (2 * bins - (edge == "centre"))
  kept = []
  for b in range(bins):
    centre, total, frames, time, weights = (2 * b + 1) * gamma, np.zeros(x.shape[1:]), 0, 0.0, 0.0
    for t in range(len(delta)):
      if edge == "centre":
        inside = min(int(delta[t] / (2 * gamma)), bins - 1) == b
      else:
        inside = abs(delta[t] - centre) < gamma
      if not inside:
        continue
      weight = 1.0 if kernel.startswith("kronecker") else max(0.0, 1 - abs(delta[t] - centre) / gamma)
      total, frames, time, weights = total + weight * x[t], frames + 1, time + weight * t, weights + weight
    if frames:
      kept.append((time / weights, total / frames if kernel in ("kronecker", "linear_normalized") else total))
  if order == "time":
    kept.sort(key=lambda k: k[0])
  return [k[1] for k in kept]


def some(frames, seed=0, batch=2):
  rng = np.random.default_rng(seed)
  return (rng.normal(size=(batch, frames, 3)).astype("f"),
          np.abs(rng.normal(size=(batch, frames, 4)).astype("f")).sum(-1))


@pytest.mark.parametrize("kernel, edge, bins", [
    *((kernel, "centre", 6) for kernel in KERNELS), ("linear", "literal", 6), ("kronecker", "literal", 3)])
def test_equals_the_loops(kernel, edge, bins):
  x, delta = some(6)
  matrix, mask, _ = merge(delta, np.ones((2, 6), bool), bins, kernel, edge)
  for b in range(2):
    expected = merged_by_loops(x[b], delta[b].astype(float), bins, kernel, edge)
    assert mask[b].tolist() == [True] * len(expected) + [False] * (bins - len(expected))
    np.testing.assert_allclose((matrix[b] @ x[b])[:len(expected)], expected, atol=1e-5)
    np.testing.assert_array_equal(matrix[b, len(expected):], 0)


def test_kept_bins_can_be_in_the_order_of_time():
  x, delta = some(6, 1)
  matrix, _, _ = merge(delta, np.ones((2, 6), bool), 6, order="time")
  for b in range(2):
    expected = merged_by_loops(x[b], delta[b].astype(float), 6, "linear", "centre", "time")
    np.testing.assert_allclose((matrix[b] @ x[b])[:len(expected)], expected, atol=1e-5)


@pytest.mark.parametrize("kernel", ["linear", "kronecker"])
def test_every_frame_goes_into_at_most_one_bin(kernel):
  _, delta = some(16, 2, 8)
  matrix, mask, _ = merge(delta, np.ones((8, 16), bool), 12, kernel)
  assert ((matrix != 0).sum(1) <= 1).all() and (matrix >= 0).all() and (matrix <= 1).all()
  assert (mask.sum(1) <= 12).all() and (mask.sum(1) > 1).all()
  if kernel == "kronecker":
    np.testing.assert_allclose(matrix.sum(-1)[mask], 1, rtol=1e-6)


def test_the_largest_frame_is_lost_in_the_literal_equations_alone():
  same = np.full((1, 4), 0.7, "f")
  live = np.ones((1, 4), bool)
  matrix, mask, _ = merge(same, live, 4, edge="literal")
  assert not mask.any() and not matrix.any()
  matrix, mask, _ = merge(same, live, 4, edge="eps")
  assert mask.sum() == 1
  np.testing.assert_array_equal(matrix[0, 0], np.float32(1 + 1e-7) - np.float32(1))
  for kernel, weight in zip(KERNELS, (1, 0.25, 0.25, 1)):
    matrix, mask, _ = merge(same, live, 4, kernel)
    assert mask.sum() == 1
    np.testing.assert_allclose(matrix[0, 0], weight)


def test_one_bin_weighs_frames_by_their_share_of_the_largest():
  delta = np.asarray([[0.2, 0.8, 0.4]], "f")
  np.testing.assert_allclose(merge(delta, np.ones((1, 3), bool), 1)[0][0, 0], [0.25, 1, 0.5], rtol=1e-6)


def test_a_ladder_of_deltas_loses_nothing():
  order = np.random.default_rng(0).permutation(8)
  delta = np.asarray([(2 * order + 1) * 0.37], "f")
  matrix, mask, _ = merge(delta, np.ones((1, 8), bool), 8)
  assert mask.all()
  np.testing.assert_allclose(matrix[0][order], np.eye(8), atol=1e-5)


def test_dead_frames_are_in_no_bin():
  _, delta = some(6)
  live = np.asarray([[1, 1, 1, 0, 0, 0], [0] * 6], bool)
  matrix, mask, _ = merge(np.where(live, delta, 99).astype("f"), live, 6)
  short, short_mask, _ = merge(delta[:, :3], live[:, :3], 6, capacity=3)
  np.testing.assert_allclose(matrix[:, :3, :3], short, rtol=1e-6)
  np.testing.assert_array_equal(mask[:, :3], short_mask)
  assert not matrix[1].any() and not mask[1].any() and not matrix[0, :, 3:].any()


def test_without_any_similarity_there_is_one_bin():
  _, mask, _ = merge(np.zeros((1, 4), "f"), np.ones((1, 4), bool), 4)
  assert mask.sum() == 1


def test_the_gradient_is_equation_6_8():
  bins, delta = 4, np.asarray([0.9, 0.3, 1.2, 2.0, 1.75, 2.0 * 5 / 7], "f")
  gamma = 2.0 / 7
  f = lambda d, **options: deal(d, np.ones(6, bool), bins, **options).weight

  @jax.jit
  def slopes(delta):
    slope = lambda **options: jax.jacobian(lambda d: f(d, **options))(delta)
    steps = 1e-3 * np.eye(6, dtype="f")
    finite = jax.vmap(lambda s: (f(delta + s) - f(delta - s)) / 2e-3)(steps)
    return (slope(), slope(gradient="through_max"), slope(grad_scale=0.5), slope(kernel="kronecker"), finite)

  own, full, half, straight, finite = jax.device_get(slopes(delta))
  slope = np.diag(own)
  index = np.clip(np.floor(delta / (2 * gamma)), 0, 3)
  centre = (2 * index + 1) * gamma
  expected = np.where(delta <= centre + 1e-6, 1, -1) / gamma
  np.testing.assert_allclose(slope, expected, rtol=1e-5)
  assert slope[3] > 0  # the largest, on a kink
  away = np.asarray([0, 1, 2, 4])  # from kinks
  np.testing.assert_allclose(np.diag(finite)[away], slope[away], rtol=1e-2)
  assert full[1, 3] != 0 and own[1, 3] == 0
  np.testing.assert_allclose(half, own / 2, rtol=1e-5)
  np.testing.assert_allclose(straight, np.eye(6) / gamma, rtol=1e-5)


def test_the_gradient_for_frames_is_the_weight():
  x, delta = some(5, 3, 1)
  matrix, _, _ = merge(delta, np.ones((1, 5), bool), 5)
  g = jax.jit(jax.grad(lambda a: (matrix[0] @ a).sum()))(x[0])
  np.testing.assert_allclose(g, np.broadcast_to(matrix[0].sum(0)[:, None], g.shape), rtol=1e-6)


def test_spherical_coordinates_are_those_of_the_text():
  z = np.random.default_rng(0).normal(size=(50, 4)).astype("f")
  r, a, b, c = np.moveaxis(np.asarray(jax.jit(spherical)(z)), -1, 0)
  back = np.stack([r * np.cos(a), r * np.sin(a) * np.cos(b), r * np.sin(a) * np.sin(b) * np.cos(c),
                   r * np.sin(a) * np.sin(b) * np.sin(c)], -1)
  np.testing.assert_allclose(back, z, atol=1e-5)
  assert (a >= 0).all() and (a <= np.pi).all() and (c >= 0).all() and (c <= 2 * np.pi).all()


def test_measures_are_those_of_numpy():
  z = np.random.default_rng(0).normal(size=(9, 3)).astype("f")
  live = np.arange(9) < 7
  mean = z[:7].mean(0)
  away = z - mean
  inverse = np.linalg.inv(np.cov(z[:7].T))
  expected = {
      "magnitude": np.linalg.norm(z, axis=1), "l2_to_mean": np.linalg.norm(away, axis=1),
      "l1_to_mean": np.abs(away).sum(1), "mahalanobis_to_mean": np.einsum("ti,ij,tj->t", away, inverse, away),
      "cosine_to_mean": 1 - z @ mean / np.linalg.norm(z, axis=1) / np.linalg.norm(mean)}
  found = jax.jit(lambda z: {measure: measured(z, live, measure) for measure in CHOICES["measure"]})(z)
  for measure, value in expected.items():
    np.testing.assert_allclose(found[measure][:, 0], value, rtol=1e-4, err_msg=measure)
  assert found["angular"].shape == (9, 2) and found["spherical"].shape == (9, 3)
  assert set(expected) | {"angular", "spherical"} == set(CHOICES["measure"])


def test_a_grid_of_bins_has_the_product_of_the_kernels():
  delta = np.abs(np.random.default_rng(0).normal(size=(1, 8, 2))).astype("f")
  live = np.ones((1, 8), bool)
  both, one, two = jax.device_get(jax.jit(lambda d: (
      deal_grid(d, live, (2, 3)), deal(d[..., 0], live, 2), deal(d[..., 1], live, 3)))(delta))
  np.testing.assert_array_equal(both.index, one.index * 3 + two.index)
  np.testing.assert_allclose(both.weight, one.weight * two.weight, rtol=1e-6)


# ---------------------------------------------------------------- the module

X = np.random.default_rng(1).normal(size=(2, 8, 4, 4, 6)).astype("f")
X[0, 4:] = X[0, :4]


@functools.cache
def run(block):
  variables = jax.jit(block.init)(jax.random.PRNGKey(0), X)
  call = jax.jit(lambda v, x, mask=None: block.apply(v, x, mask=mask))
  return variables, lambda *given: jax.device_get(call(*given))


def test_similar_frames_are_summed_and_the_rest_is_zero():
  variables, call = run(SimilarityGuidedSampling())
  y, mask = call(variables, X)
  assert y.shape == X.shape and mask.dtype == bool and mask[0].sum() <= 4 and mask.any(1).all()
  np.testing.assert_array_equal(y[~mask], 0)
  frames = np.random.default_rng(2).permutation(8)
  z, same = call(variables, X[:, frames])
  np.testing.assert_allclose(z, y, atol=1e-5)
  np.testing.assert_array_equal(same, mask)
  still = np.broadcast_to(X[:, :1], X.shape)
  y, mask = call(variables, still)
  assert (mask.sum(1) == 1).all()
  np.testing.assert_allclose(y[:, 0], 8 * X[:, 0], rtol=1e-4)


def test_scaled_similarity_changes_nothing():
  block = SimilarityGuidedSampling(space="paper")
  variables, call = run(block)
  y, mask = call(variables, X)
  scaled = jax.device_get(variables)
  scaled["params"]["fc2"] = jax.tree.map(lambda a: 4 * a, scaled["params"]["fc2"])
  z, same = call(scaled, X)
  np.testing.assert_allclose(z, y, atol=1e-5)
  np.testing.assert_array_equal(same, mask)


@pytest.mark.parametrize("bins, left", [(0, 5), (4, 4)])
def test_a_clip_depends_on_its_live_frames_alone(bins, left):
  variables, call = run(SimilarityGuidedSampling(bins=bins))
  live = np.broadcast_to(np.arange(8) < 5, (2, 8))
  y, mask = call(variables, np.where(live[:, :, None, None, None], X, 7).astype("f"), live)
  z, short = call(variables, X[:, :5])
  assert z.shape[1] == left and not mask[:, left:].any()
  np.testing.assert_allclose(y[:, :left], z, atol=1e-5)
  np.testing.assert_array_equal(mask[:, :left], short)


def test_blocks_are_clips_of_their_own():
  whole, call = run(SimilarityGuidedSampling())
  _, same = run(SimilarityGuidedSampling(block_len=8))
  for a, b in zip(call(whole, X), same(whole, X)):
    np.testing.assert_array_equal(a, b)
  _, blocks = run(SimilarityGuidedSampling(block_len=3))
  y, mask = blocks(whole, X)
  assert y.shape[1] == 8
  parts = [call(whole, X[:, i:i + 3]) for i in (0, 3, 6)]
  for b in range(2):
    expected = np.concatenate([z[b][m[b]] for z, m in parts])
    assert mask[b].sum() == len(expected)
    np.testing.assert_allclose(y[b, :len(expected)], expected, atol=1e-5)


def test_the_random_control_keeps_as_many_frames():
  variables, call = run(SimilarityGuidedSampling())
  _, control = run(SimilarityGuidedSampling(control="random"))
  (y, mask), (z, same) = call(variables, X), control(variables, X)
  np.testing.assert_array_equal(mask, same)
  assert np.abs(y - z).max() > 0.1


@pytest.mark.parametrize("fields, params", [({}, 680), (dict(space="paper"), 1320), (dict(measure="angular"), 585),
                                            (dict(measure="spherical"), 585)])
def test_it_has_the_parameters_of_the_text(fields, params):
  x = jax.ShapeDtypeStruct((2, 32, 4, 4, 32), jnp.bfloat16)
  (y, mask), variables = jax.eval_shape(
      lambda x: SimilarityGuidedSampling(**fields).init_with_output(jax.random.PRNGKey(0), x), x)
  assert sum(v.size for v in jax.tree.leaves(variables["params"])) == params
  assert y.shape == x.shape and y.dtype == jnp.bfloat16 and mask.shape == (2, 32)


def test_what_is_kept_is_shown_to_who_asks():
  variables, call = run(SimilarityGuidedSampling())
  (_, _), state = jax.jit(lambda v, x: SimilarityGuidedSampling().apply(v, x, mutable=["maps"]))(variables, X)
  kept = np.asarray(state["maps"]["kept"][0])
  assert kept.shape == (2, 8)
  y, _ = call(variables, X)
  np.testing.assert_allclose((kept[:, :, None, None, None] * X).sum(1), y.sum(1), atol=1e-4)


def test_training_reaches_the_similarity_of_every_kernel():
  for kernel in ("linear", "kronecker"):
    block = SimilarityGuidedSampling(kernel=kernel)
    variables, _ = run(block)
    weight = np.random.default_rng(3).normal(size=X.shape).astype("f")

    def loss(params):
      (y, _), new = block.apply({**variables, "params": params}, X, train=True, mutable=["batch_stats"])
      return (y * weight).sum(), new

    grads, new = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert all(np.any(grads[name]["kernel"]) for name in ("fc1", "fc2"))
    assert np.any(new["batch_stats"]["norm"]["mean"])


@pytest.mark.parametrize("fields, words", [
    (dict(kernel="lin"), "lin.*linear_normalized"), (dict(measure="l3"), "l3.*magnitude"),
    (dict(measure="angular", dim=8), "7 coordinates, not 2"), (dict(bins=(4, 8)), "one number"),
])
def test_a_wrong_field_is_one_clear_line(fields, words):
  with pytest.raises(ValueError, match=words):
    SimilarityGuidedSampling(**fields)
