import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import projector

coefficients = jax.jit(projector.coefficients)
pixel_residual = jax.jit(projector.pixel_residual)


def some(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype("f")


def by_lstsq(x, basis):
  """(coefficients, residuals) of series x (T, N), one by one."""
  y = np.stack([np.linalg.lstsq(basis, s, rcond=None)[0] for s in x.T], -1)
  return y, x - basis @ y


def projection(basis):
  """The matrix P = A (A^T A)^-1 A^T, column by column of the identity."""
  frames = basis.shape[0]
  y, _ = coefficients(np.eye(frames, dtype="f")[None], basis[None])
  return basis @ np.asarray(y)[0]


@pytest.mark.parametrize("size", [1, 3, 5])
def test_coefficients_and_energy_equal_least_squares_pixel_by_pixel(size):
  x, basis = some(2, 6, 3, 2, 3), some(2, 6, size, seed=1)
  y, energy = map(np.asarray, coefficients(x, basis))
  for b in range(2):
    want, residual = by_lstsq(x[b].reshape(6, -1), basis[b])
    np.testing.assert_allclose(np.reshape(y[b], (size, -1)), want, atol=1e-4)
    np.testing.assert_allclose(np.ravel(energy[b]), (residual**2).sum(0), rtol=1e-4, atol=1e-4)


def test_the_projection_is_a_projection():
  basis = some(8, 3)
  p = projection(basis)
  np.testing.assert_allclose(p @ p, p, atol=1e-5)
  np.testing.assert_allclose(p, p.T, atol=1e-5)
  np.testing.assert_allclose(p @ basis, basis, atol=1e-5)
  np.testing.assert_allclose(np.trace(p), 3, atol=1e-5)


def test_a_change_of_basis_changes_the_coefficients_alone():
  x, basis, change = some(1, 6, 4, 4, 2), some(1, 6, 2, seed=1), np.array([[2, 1], [-1, 0.5]], "f")
  y, energy = coefficients(x, basis)
  z, same = coefficients(x, basis @ change)
  np.testing.assert_allclose(same, energy, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(np.einsum("de,be...->bd...", change, z), y, atol=1e-4)


def test_principal_components_reach_the_bound_and_nothing_goes_below_it():
  x = some(1, 8, 5, 5, 3) * np.linspace(0.2, 2, 8).reshape(8, 1, 1, 1).astype("f")
  values, vectors = np.linalg.eigh(np.einsum("tn,vn->tv", *[x[0].reshape(8, -1)] * 2))
  bound = values[:5].sum()
  energy = lambda basis: np.sum(coefficients(x, basis[None])[1])
  np.testing.assert_allclose(energy(vectors[:, -3:].astype("f")), bound, rtol=1e-4)
  assert all(energy(some(8, 3, seed=s)) > bound for s in range(5))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_inverse_of_small_matrices(size):
  a = some(5, 8, size)
  products, ridge = map(np.asarray, jax.jit(projector.gram)(a))
  matrix = products + ridge * np.eye(size, dtype="f")
  inverse = np.asarray(jax.jit(projector.inverse)(matrix))
  np.testing.assert_allclose(inverse @ matrix, np.broadcast_to(np.eye(size), matrix.shape), atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_mean_residual_and_its_energy_equal_least_squares_pixel_by_pixel(size):
  x, basis = some(1, 5, 2, 3, 3), some(1, 5, 2, 3, size, seed=1)
  mean, energy = map(np.asarray, pixel_residual(x, basis))
  for i, j in np.ndindex(2, 3):
    _, residual = by_lstsq(x[0, :, i, j], basis[0, :, i, j])
    np.testing.assert_allclose(mean[0, i, j], residual.mean(0), atol=1e-4)
    np.testing.assert_allclose(energy[0, i, j], (residual**2).sum(0), rtol=1e-4, atol=1e-4)


def test_pixels_in_another_basis_of_their_subspace_give_the_same():
  x, basis = some(1, 5, 2, 2, 3), some(1, 5, 2, 2, 2, seed=1)
  changed = basis @ np.array([[1, 2], [0.5, -1]], "f")
  for a, b in zip(pixel_residual(x, basis), pixel_residual(x, changed)):
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_whole_basis_leaves_nothing_and_a_constant_one_leaves_no_mean():
  x = some(1, 3, 2, 2, 3)
  mean, energy = pixel_residual(x, np.broadcast_to(some(3, 1, 1, 3, seed=1), (1, 3, 2, 2, 3)))
  np.testing.assert_allclose(mean, 0, atol=1e-3)
  np.testing.assert_allclose(energy, 0, atol=1e-3)
  mean, _ = pixel_residual(x, np.ones((1, 3, 2, 2, 1), "f"))
  np.testing.assert_allclose(mean, 0, atol=1e-5)


def test_what_stands_still_answers_in_the_square_of_what_moves():
  bend = np.array([1, -2, 0, 2, -1], "f").reshape(1, 5, 1, 1, 1)
  still = np.ones((1, 5, 1, 1, 1), "f")
  moving = np.eye(5, dtype="f")[1].reshape(1, 5, 1, 1, 1)
  answer = lambda x, e: abs(pixel_residual(x, 1 + e * bend, 0.0)[0].item())
  np.testing.assert_allclose(answer(still, 0.02) / answer(still, 0.01), 4, rtol=0.05)
  np.testing.assert_allclose(answer(moving, 0.02) / answer(moving, 0.01), 2, rtol=0.05)


def test_a_basis_of_zeros_projects_onto_nothing_and_has_finite_gradients():
  x = some(1, 4, 2, 2, 3)
  loss = lambda a: sum(jnp.sum(z) for z in projector.pixel_residual(x, a))
  assert np.isfinite(jax.jit(jax.grad(loss))(jnp.zeros((1, 4, 2, 2, 2)))).all()
  y, energy = coefficients(x, np.zeros((1, 4, 2), "f"))
  np.testing.assert_allclose(energy, (x**2).sum(1), rtol=1e-5)
  assert not np.any(y)


def test_orthonormal_columns_span_the_same():
  basis = some(6, 3)
  q = np.asarray(jax.jit(projector.orthonormal)(basis))
  np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-5)
  np.testing.assert_allclose(q @ q.T, projection(basis), atol=1e-5)
