import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from vidx.nn.tv_cut import costs, edge_costs, energy, tv_cut


def disc(side, seed=0, noise=0.25):
  """Costs and V of a noisy disc with edges around it."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:side, :side]
  away = np.hypot(y - side / 2, x - side / 2) - side / 3.5
  p = np.clip(np.where(away < 0, 0.6, 0.4) + rng.normal(0, noise, away.shape), 0.01, 0.99)
  e = np.clip(rng.uniform(0, 0.6, away.shape) + 0.6 * (np.abs(away) < 1.5), 0, 1)
  return np.asarray(costs(jnp.asarray(p))), *map(np.asarray, edge_costs(jnp.asarray(e)))


def by_maximum_flow(cost, across, down, scale=1e4):
  whole = lambda x: np.round(x.reshape(-1) * scale).astype(np.int64)
  count = cost.size
  at = np.arange(count).reshape(cost.shape)
  c = whole(cost)
  source, sink = np.full(count, count), np.full(count, count + 1)
  start, end, room = [at.ravel()[c > 0], source[c <= 0]], [sink[c > 0], at.ravel()[c <= 0]], [c[c > 0], -c[c <= 0]]
  for a, b, v in ((at[:, :-1], at[:, 1:], across), (at[:-1], at[1:], down)):
    start += [a.ravel(), b.ravel()]
    end += [b.ravel(), a.ravel()]
    room += [whole(v)] * 2
  graph = sparse.csr_matrix((np.concatenate(room).astype(np.int32), (np.concatenate(start), np.concatenate(end))),
                            (count + 2, count + 2))
  left = graph - maximum_flow(graph, count, count + 1).flow
  left.data[left.data < 0] = 0
  left.eliminate_zeros()
  labels = np.zeros(count + 2, bool)
  labels[breadth_first_order(left, count, return_predecessors=False)] = True
  return labels[:count].reshape(cost.shape)


@pytest.mark.parametrize("side", [72, 147])
def test_it_equals_the_maximum_flow(side):
  inputs = disc(side)
  wanted = by_maximum_flow(*inputs)
  at = lambda n: jax.jit(lambda *x: tv_cut(*x, iterations=n).labels)(*inputs)
  value = float(energy(wanted, *inputs))
  np.testing.assert_allclose(float(energy(at(300), *inputs)), value, rtol=2e-6)
  longer = at(1000)
  np.testing.assert_allclose(float(energy(longer, *inputs)), value, rtol=1e-6)
  assert (np.asarray(longer) != wanted).mean() <= 5e-4  # ties


def test_the_energy_is_the_sum_over_pixels_and_pairs():
  rng = np.random.default_rng(0)
  cost, across, down = rng.normal(size=(4, 5)), rng.uniform(size=(4, 4)), rng.uniform(size=(3, 5))
  labels = rng.uniform(size=(4, 5)) > 0.5
  total = cost[labels].sum()
  total += sum(across[i, j] for i in range(4) for j in range(4) if labels[i, j] != labels[i, j + 1])
  total += sum(down[i, j] for i in range(3) for j in range(5) if labels[i, j] != labels[i + 1, j])
  np.testing.assert_allclose(energy(jnp.asarray(labels), cost, across, down), total, rtol=1e-5)


def test_all_is_computed_in_single_precision_and_images_do_not_depend_on_each_other():
  one, two = disc(24, 1), disc(24, 2)
  both = tv_cut(*(np.stack(x) for x in zip(one, two)), iterations=50)
  np.testing.assert_array_equal(both.labels[1], tv_cut(*two, iterations=50).labels)
  half = tv_cut(*(jnp.asarray(x, jnp.bfloat16) for x in one), iterations=3)
  assert half.relaxed.dtype == jnp.float32


def test_without_edges_between_pixels_each_takes_its_own_side():
  cost = np.random.default_rng(0).normal(size=(6, 7)).astype("f")
  np.testing.assert_array_equal(tv_cut(cost, np.zeros((6, 6)), np.zeros((5, 7)), 20).labels, cost < 0)


def test_probabilities_of_0_and_1_are_no_infinite_costs():
  found = np.asarray(costs(jnp.array([0.0, 0.5, 1.0])))
  np.testing.assert_allclose(found, [np.log(9999), 0, -np.log(9999)], atol=1e-2)


def test_it_lowers_for_accelerators():
  shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 32, 40), (2, 32, 39), (2, 31, 40))]
  assert export.export(jax.jit(tv_cut), platforms=["tpu", "cuda"])(*shapes)
