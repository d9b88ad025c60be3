import functools

import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import match_transform
from vidx.nn.match_transform import AFFINITIES, match_weights, step_weights

HEIGHT, WIDTH = 6, 7
both = pytest.mark.parametrize("affinity", AFFINITIES)


def some(*shape, seed=0):
  return np.maximum(np.random.default_rng(seed).normal(size=shape), 0).astype("f")


def matched_by_loops(memory, now, before, reach, affinity):
  out = np.zeros_like(memory)
  height, width = memory.shape[:2]
  for y, x in np.ndindex(height, width):
    shares = {}
    for i in range(-reach, reach + 1):
      for j in range(-reach, reach + 1):
        if 0 <= y + i < height and 0 <= x + j < width:
          a, b = now[y, x].astype(float), before[y + i, x + j].astype(float)
          if affinity == "cosine":
            a, b = a / (np.linalg.norm(a) + 1e-8), b / (np.linalg.norm(b) + 1e-8)
          shares[y + i, x + j] = max(a @ b, 0)
    total = sum(shares.values())
    out[y, x] = sum(share / total * memory[at] for at, share in shares.items()) if total > 1e-7 else memory[y, x]
  return out


@functools.cache
def jitted(affinity="cosine", reach=2):
  return jax.jit(functools.partial(match_transform, affinity=affinity, reach=reach))


@both
@pytest.mark.parametrize("reach", [1, 2])
def test_equals_the_loop(affinity, reach):
  memory, now, before = some(HEIGHT, WIDTH, 3), some(HEIGHT, WIDTH, 5, seed=1), some(HEIGHT, WIDTH, 5, seed=2)
  now[2, 3] = 0  # nothing to match by
  np.testing.assert_allclose(jitted(affinity, reach)(memory, now, before),
                             matched_by_loops(memory, now, before, reach, affinity), atol=1e-5)


def of_places_around(memory, now, before, reach, affinity):
  """The same from every place's list of the places around it."""
  height, width = memory.shape[-3:-1]
  steps = np.arange(-reach, reach + 1)
  rows, columns = np.arange(height)[:, None] + steps, np.arange(width)[:, None] + steps
  inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[None, :, None]
  rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
  around = lambda x: jnp.where(inside[..., None], x[..., rows[:, None, :, None], columns[None, :, None], :], 0)
  unit = lambda x: x / (jnp.sqrt(jnp.maximum((x * x).sum(-1, keepdims=True), 1e-30)) + 1e-8)
  there = around(unit(before) if affinity == "cosine" else before)
  products = jnp.maximum(jnp.einsum("...hwc,...hwijc->...hwij", unit(now), there), 0)
  total = products.sum((-1, -2), keepdims=True)
  own = (steps[:, None] == 0) & (steps == 0)
  shares = jnp.where(total >= 1e-7, products / jnp.where(total >= 1e-7, total, 1), own)
  return jnp.einsum("...hwij,...hwijc->...hwc", shares, around(memory))


@pytest.mark.parametrize("affinity, reach, shape", [
    ("cosine", 2, (13, 34)), ("dot", 2, (13, 34)), ("cosine", 1, (9, 20)), ("dot", 3, (10, 66)), ("dot", 2, (1, 30)),
    ("cosine", 2, (70, 1))])
def test_blocks_of_rows_give_values_and_gradients_of_lists_of_neighbours(affinity, reach, shape):
  memory, now, before = some(2, *shape, 3), some(2, *shape, 5, seed=1), some(2, *shape, 5, seed=2)
  now[0, -1, -1] = before[1, 0, 0] = before[0, shape[0] // 2:shape[0] // 2 + 2] = 0
  weigh = some(2, *shape, 3, seed=4)

  def both_passes(f):
    loss = lambda *x: (f(*x) * weigh).sum()
    return jax.jit(lambda *x: (f(*x), *jax.grad(loss, (0, 1, 2))(*x)))(memory, now, before)

  found = both_passes(functools.partial(match_transform, reach=reach, affinity=affinity, stop_grad=False))
  for a, b in zip(found, both_passes(functools.partial(of_places_around, reach=reach, affinity=affinity))):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1, np.abs(b).max()))


@both
def test_steps_of_a_video_are_its_pairs_of_frames(affinity):
  x, mask = some(2, 4, 13, 34, 5), np.ones((2, 3, 13, 34), "f")
  mask[1, ..., 11:, :] = mask[1, ..., 30:] = 0
  x[:, 1:] *= mask[..., None]
  pairs, steps = jax.jit(lambda x, mask: (match_weights(x[:, 1:], x[:, :-1], mask, affinity=affinity),
                                          step_weights(x, mask, affinity=affinity)))(x, mask)
  assert pairs.shape == (2, 3, 7, 80, 240)
  np.testing.assert_allclose(steps, pairs, atol=1e-6)


@both
@pytest.mark.parametrize("move", [(0, 0), (1, 0), (-2, 1), (2, 2), (0, -2)])
def test_codes_that_move_take_the_memory_with_them_exactly(affinity, move):
  codes = np.eye(HEIGHT * WIDTH, dtype="f").reshape(HEIGHT, WIDTH, -1)
  memory = some(HEIGHT, WIDTH, 4)
  inner = slice(2, -2), slice(2, -2)
  np.testing.assert_array_equal(jitted(affinity)(memory, np.roll(codes, move, (0, 1)), codes)[inner],
                                np.roll(memory, move, (0, 1))[inner])


@both
def test_of_a_constant_map_it_is_the_mean_of_what_lies_around(affinity):
  memory, constant = some(HEIGHT, WIDTH, 2), np.ones((HEIGHT, WIDTH, 3), "f")
  found = jitted(affinity)(memory, constant, constant)
  np.testing.assert_allclose(found[3, 3], memory[1:6, 1:6].mean((0, 1)), atol=1e-6)
  np.testing.assert_allclose(found[0, 0], memory[:3, :3].mean((0, 1)), atol=1e-6)


@both
def test_shares_sum_to_one_and_know_nothing_of_a_places_length(affinity):
  now, before = some(2, HEIGHT, WIDTH, 5), some(2, HEIGHT, WIDTH, 5, seed=1)
  length = np.random.default_rng(3).uniform(0.1, 9, (2, HEIGHT, WIDTH, 1)).astype("f")
  shares = match_weights(now, before, affinity=affinity)
  np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
  np.testing.assert_allclose(match_weights(now * length, before, affinity=affinity), shares, atol=1e-5)
  same = np.allclose(match_weights(now, before * length, affinity=affinity), shares, atol=1e-4)
  assert same == (affinity == "cosine")


@both
def test_a_blank_frame_keeps_the_memory_as_it_is(affinity):
  memory, blank = some(HEIGHT, WIDTH, 3), np.zeros((HEIGHT, WIDTH, 5), "f")
  np.testing.assert_array_equal(jitted(affinity)(memory, blank, some(HEIGHT, WIDTH, 5)), memory)


@both
def test_padding_and_other_examples_change_nothing(affinity):
  memory, now, before = some(2, HEIGHT, WIDTH, 3), some(2, HEIGHT, WIDTH, 5, seed=1), some(2, HEIGHT, WIDTH, 5, seed=2)
  alone = jitted(affinity)(memory[:1], now[:1], before[:1])
  np.testing.assert_allclose(jitted(affinity)(memory, now, before)[:1], alone, atol=1e-6)
  around = [(0, 0), (0, 3), (0, 2), (0, 0)]
  wider = [np.pad(x[:1], around, constant_values=9) for x in (memory, now, before)]
  mask = np.pad(np.ones((1, HEIGHT, WIDTH), "f"), around[:3])
  found = jitted(affinity)(*wider, mask)
  np.testing.assert_allclose(found[:, :HEIGHT, :WIDTH], alone, atol=1e-6)


def test_features_get_a_gradient_only_on_demand_and_the_memory_always():
  memory, now, before = some(HEIGHT, WIDTH, 3), some(HEIGHT, WIDTH, 5, seed=1), some(HEIGHT, WIDTH, 5, seed=2)
  now[0, 0] = before[1, 1] = 0
  weigh = some(HEIGHT, WIDTH, 3, seed=4)
  for stop in (True, False):
    loss = lambda *x: (match_transform(*x, stop_grad=stop) * weigh).sum()
    to_memory, to_now, to_before = jax.jit(jax.grad(loss, (0, 1, 2)))(memory, now, before)
    assert jnp.abs(to_memory).sum() > 0 and np.isfinite(to_now).all() and np.isfinite(to_before).all()
    assert (jnp.abs(to_now).sum() == 0) == (jnp.abs(to_before).sum() == 0) == stop
  moved = np.random.default_rng(5).normal(size=now.shape).astype("f") * 1e-3 * (now > 0)
  loss = jax.jit(loss)
  difference = (loss(memory, now + moved, before) - loss(memory, now - moved, before)) / 2
  np.testing.assert_allclose((to_now * moved).sum(), difference, rtol=2e-2)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (9, 34)])
def test_half_precision_is_kept_and_near_single(shape):
  given = [some(*shape, 4, seed=s) for s in range(3)]
  found = jitted()(*(jnp.asarray(x, jnp.bfloat16) for x in given))
  assert found.dtype == jnp.bfloat16
  np.testing.assert_allclose(found.astype(jnp.float32), jitted()(*given), atol=0.05)


def test_another_affinity_is_named():
  with pytest.raises(ValueError, match="affinity = 'cosin' .* \\(nearest: 'cosine'\\)"):
    match_weights(jnp.ones((2, 2, 1)), jnp.ones((2, 2, 1)), affinity="cosin")


def test_it_lowers_for_accelerators_without_the_table_of_all_pairs():
  shape = lambda c: jax.ShapeDtypeStruct((1, 22, 38, c), jnp.float32)
  text = export.export(jax.jit(match_transform), platforms=["tpu", "cuda"])(shape(512), shape(1024), shape(1024))
  assert "836x836" not in text.mlir_module() and "gather" not in text.mlir_module()
