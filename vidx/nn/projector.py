"""Least squares over time: a series of T values written in a basis of D columns, and what the basis misses.

With A of shape (T, D), y = (A^T A + r I)^-1 A^T x are the coefficients of a series x,
A y its projection and x - A y its residual. The ridge r is a share of the mean
diagonal of A^T A. All of it is fp32. Huang: "Spatio-Temporal Modeling for Action
Recognition in Videos", 2022, eq. 3.4 and eq. 3.7.
"""

import jax
import jax.numpy as jnp

RIDGE = 1e-6


def gram(basis: jax.Array, ridge: float = RIDGE) -> tuple[jax.Array, jax.Array]:
  """(A^T A, r): the products of a basis' columns (..., T, D) -> (..., D, D), and the ridge (..., 1, 1)."""
  basis = basis.astype(jnp.float32)
  products = jnp.einsum("...td,...te->...de", basis, basis, precision="highest")
  return products, _ridge(products, ridge)


def coefficients(x: jax.Array, basis: jax.Array, ridge: float = RIDGE) -> tuple[jax.Array, jax.Array]:
  """One basis per clip, any D, by Cholesky decomposition.

  The energy needs no projection: |x - A y|^2 = |x|^2 - y^T (A^T A + 2 r I) y.

  Args:
    x: (B, T, ...) series.
    basis: (B, T, D).
    ridge: share of the mean diagonal.

  Returns:
    y (B, D, ...) and the residual energy per series, (B, ...), not negative; fp32.
  """
  x, basis = x.astype(jnp.float32), basis.astype(jnp.float32)
  products, r = gram(basis, ridge)
  unit = jnp.eye(basis.shape[-1])
  factor = jax.scipy.linalg.cholesky(products + r * unit, lower=True)
  solver = jax.vmap(lambda c, b: jax.scipy.linalg.cho_solve((c, True), b.T))(factor, basis)  # (B, D, T)
  y = jnp.einsum("bdt,bt...->bd...", solver, x, precision="highest")
  weighed = jnp.einsum("bde,be...->bd...", products + 2 * r * unit, y, precision="highest")
  return y, jnp.maximum(jnp.sum(x * x, 1) - jnp.sum(y * weighed, 1), 0)


def inverse(matrix: jax.Array) -> jax.Array:
  """Of symmetric positive (..., D, D); closed form where D <= 3: accelerators are slow at many tiny factorisations."""
  size = matrix.shape[-1]
  if size == 1:
    return 1 / matrix
  if size > 3:
    factor = jax.scipy.linalg.cholesky(matrix, lower=True)
    return jax.scipy.linalg.cho_solve((factor, True), jnp.broadcast_to(jnp.eye(size), matrix.shape))
  # The determinant of a small basis, to the power that its gradient takes it to, leaves the range of fp32.
  scale = jax.lax.stop_gradient(jnp.trace(matrix, axis1=-2, axis2=-1))[..., None, None] / size
  matrix = matrix / scale
  rows = [[matrix[..., i, j] for j in range(size)] for i in range(size)]
  if size == 2:
    (a, b), (c, d) = rows
    adjugate = [[d, -b], [-c, a]]
  else:
    minor = lambda i, j: (rows[(i + 1) % 3][(j + 1) % 3] * rows[(i + 2) % 3][(j + 2) % 3]
                          - rows[(i + 1) % 3][(j + 2) % 3] * rows[(i + 2) % 3][(j + 1) % 3])
    adjugate = [[minor(j, i) for j in range(3)] for i in range(3)]
  determinant = sum(rows[0][j] * adjugate[j][0] for j in range(size))
  return jnp.stack([jnp.stack(row, -1) for row in adjugate], -2) / determinant[..., None, None] / scale


def orthonormal(basis: jax.Array) -> jax.Array:
  """A basis (..., T, D) of the same subspace whose columns are orthonormal."""
  return jnp.linalg.qr(basis.astype(jnp.float32))[0]


def pixel_residual(x: jax.Array, basis: jax.Array, ridge: float = RIDGE) -> tuple[jax.Array, jax.Array]:
  """One basis per position: the residual's mean over time, and its energy, without the residual itself.

  The mean is sum_t w_t x_t with w = (I - A (A^T A)^-1 A^T) 1 / T.

  Args:
    x: (B, T, H, W, C) clips.
    basis: (B, T, H, W, D), small D.
    ridge: share of the mean diagonal.

  Returns:
    Mean residual (B, H, W, C), and sum_t residual^2 per pixel and channel, (B, H, W, C); fp32.
  """
  x, a = x.astype(jnp.float32), basis.astype(jnp.float32)
  frames, size = a.shape[1], a.shape[-1]
  # Sums of products, not dot products: the matrices are tiny and there is one per position.
  products = jnp.sum(a[..., :, None] * a[..., None, :], 1)
  ridged = products + _ridge(products, ridge) * jnp.eye(size)
  solved = inverse(ridged)
  along = lambda b: jnp.sum(solved * b[..., None, :], -1)  # (A^T A)^-1 b
  ones = along(jnp.sum(a, 1))
  onto = jnp.sum(a[..., :, None] * x[..., None, :], 1)  # A^T x: (B, H, W, D, C)
  mean = (jnp.sum(x, 1) - jnp.sum(ones[..., None] * onto, -2)) / frames
  y = jnp.sum(solved[..., None] * onto[..., None, :, :], -2)
  weighed = 2 * onto - jnp.sum(products[..., None] * y[..., None, :, :], -2)
  return mean, jnp.maximum(jnp.sum(x * x, 1) - jnp.sum(y * weighed, -2), 0)


def _ridge(products: jax.Array, share: float) -> jax.Array:
  """(..., 1, 1); never 0, so that a basis of zeros projects onto nothing."""
  return share * jnp.trace(products, axis1=-2, axis2=-1)[..., None, None] / products.shape[-1] + 1e-8
