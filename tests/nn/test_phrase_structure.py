import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.phrase_structure import children, largest_child, parent_child, siblings

# root 0 has 1, 2, 3; 1 has 4 alone; 2 has 5, 6; the last two places are padding
PARENT = np.array([-1, 0, 0, 0, 1, 2, 2, -1, -1], np.int32)
VALID = np.arange(9) < 7
CHILDREN = {0: (1, 2, 3), 1: (4,), 2: (5, 6)}


def some_masks(seed=0, places=(3, 4)):
  return np.random.default_rng(seed).uniform(size=(2, 9, *places)).astype("f")


def by_loops(masks):
  """Sums and counts of eq. 6.2 and 6.3 for one image."""
  apart = [np.square(masks[k] - np.max([masks[c] for c in of], 0)).sum() for k, of in CHILDREN.items()]
  overlap = []
  for of in CHILDREN.values():
    if len(of) > 1:
      some = np.array([masks[c] for c in of], np.float64)
      overlap.append(-(some.mean(0) * np.log(some.max(0) / some.sum(0))).sum())
  return (sum(apart), len(apart)), (sum(overlap), len(overlap))


def run(masks, parent=PARENT, valid=VALID, **fields):
  spread = lambda x: jnp.broadcast_to(jnp.asarray(x), masks.shape[:2])
  return parent_child(masks, spread(parent), spread(valid)), siblings(masks, spread(parent), spread(valid), **fields)


def two(a, b):
  """A parent with two children of given masks."""
  masks = jnp.stack([jnp.maximum(a, b), a, b])[None]
  return run(masks, np.array([-1, 0, 0]), np.ones(3, bool))


def test_equals_the_equations_by_loops():
  masks = some_masks()
  found = jax.jit(run)(masks)
  for i in range(2):
    for (value, count), (total, number) in zip(by_loops(masks[i]), found):
      assert float(number[i]) == count
      np.testing.assert_allclose(total[i], value, rtol=1e-4)


def test_a_mask_that_is_the_union_of_its_children_costs_nothing_and_of_one_child_the_distance_counts():
  a, b = some_masks()[0, :2]
  assert two(a, b)[0][0] == 0
  (apart, count), (overlap, sets) = run(jnp.stack([a, b])[None], np.array([-1, 0]), np.ones(2, bool))
  np.testing.assert_allclose(apart[0], np.square(a - b).sum(), rtol=1e-5)
  assert count[0] == 1 and overlap[0] == 0 and sets[0] == 0  # one sibling is no set


def test_equal_siblings_cost_a_log_2_at_each_place_and_exclusive_ones_nothing():
  half = jnp.full((14, 14), 0.5)
  assert float(two(half, half)[1][0][0]) == pytest.approx(67.93, abs=0.01)
  apart = (jnp.arange(14) < 7) * jnp.ones((14, 1))
  assert abs(float(two(apart, 1 - apart)[1][0][0])) < 1e-4


def test_the_cost_of_siblings_is_bounded_by_their_mean_and_number():
  masks = some_masks()
  masks[:, 4:] = 0
  parent = np.array([-1, 0, 0, 0] + [-1] * 5)
  cost, count = siblings(masks, jnp.broadcast_to(parent, (2, 9)), jnp.broadcast_to(np.arange(9) < 4, (2, 9)))
  most = np.log(3) * masks[:, 1:4].mean(1).sum((1, 2))
  assert (cost >= 0).all() and (cost <= most).all() and (count == 1).all()


@pytest.mark.parametrize("stop", [False, True])
def test_empty_masks_cost_nothing_and_have_a_finite_gradient(stop):
  zero = jnp.zeros((4, 4))
  assert two(zero, zero)[1][0][0] == 0
  grad = jax.grad(lambda m: run(m, np.array([-1, 0, 0]), np.ones(3, bool), stop_weight=stop)[1][0].sum())(
      jnp.zeros((1, 3, 4, 4)))
  assert np.isfinite(grad).all()


def test_the_weight_may_have_no_gradient():
  value = lambda m, stop: siblings(m, jnp.broadcast_to(PARENT, (2, 9)), jnp.broadcast_to(VALID, (2, 9)),
                                   stop_weight=stop)[0].sum()
  masks = some_masks()
  assert value(masks, True) == value(masks, False)
  assert np.abs(jax.grad(value)(masks, True) - jax.grad(value)(masks, False)).max() > 0.01


def test_neither_the_order_of_phrases_nor_padding_changes_anything():
  masks = some_masks()
  order = np.array([3, 0, 6, 2, 1, 5, 4, 7, 8])
  place = np.argsort(order)
  moved = np.where(PARENT[order] >= 0, place[PARENT[order]], -1)
  other = masks[:, order].copy()
  other[:, 7:] = 0.7
  for a, b in zip(jax.tree.leaves(run(masks)), jax.tree.leaves(run(other, moved, VALID[order]))):
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_children_are_none_of_padding_and_leaves_have_no_largest_child():
  child = children(jnp.asarray(PARENT)[None], jnp.asarray(VALID)[None])[0]
  assert {k: tuple(np.flatnonzero(row)) for k, row in enumerate(child) if row.any()} == CHILDREN
  assert not largest_child(some_masks()[:1], child[None])[0, 3:].any()
