"""Linear detectors from a few examples, by Newton's method: squared-hinge SVM, LDA, logistic regression.

Made for `jax.vmap` over detectors. All is fp32. Of Xiao: "Multimodal Learning with Minimal
Human Supervision from Videos and Natural Language", 2020, section 2.2.2 has the detector of
an object (a linear SVM) and 2.2.3 that of its pixels (a logistic regression). Hariharan,
Malik and Ramanan: "Discriminative Decorrelation for Clustering and Classification", 2012,
has the LDA whose covariance is shared.
"""

import jax
import jax.numpy as jnp

_HALVINGS = 8  # of a Newton step, of which the best is taken


def with_bias(x: jax.Array) -> jax.Array:
  """(..., D) -> fp32 (..., D + 1), the last entry 1."""
  x = x.astype(jnp.float32)
  return jnp.concatenate([x, jnp.ones((*x.shape[:-1], 1))], -1)


def squared_hinge_svm(x: jax.Array, label: jax.Array, regularisation: float = 1e-2, steps: int = 10,
                      begin: jax.Array | None = None) -> jax.Array:
  """The minimiser of regularisation / 2 |w|^2 + mean_pos h(1 - s)^2 / 2 + mean_neg h(1 + s)^2 / 2, s = w^T (x, 1).

  The means are those of positives and of negatives, so that both weigh the same, and h is
  max(0, .). The bias, the last entry of w, is regularised as scikit-learn's is. In
  scikit-learn's terms C is 1 and an example weighs 1 / (2 regularisation n), n the number
  of its class.

  Args:
    x: (N, D), rows of length 1 where nothing else is meant: in fp32, a regularisation
      below 1e-4 makes the steps inexact.
    label: (N,), above 0 for positives, below for negatives, 0 for what is no example.
    regularisation: see above.
    steps: Newton steps.
    begin: (D + 1,) from which they start; 0 where None.

  Returns:
    w, (D + 1,); 0 of no examples.
  """
  x, y, share = _examples(x, label)
  objective = lambda w2, s: 0.5 * regularisation * w2 + 0.5 * (share * jnp.maximum(1 - y * s, 0) ** 2).sum(-1)

  def derivatives(s):
    slack = jnp.maximum(1 - y * s, 0)
    return -share * y * slack, share * (slack > 0)

  return _newton(x, objective, derivatives, regularisation, steps, begin)


def logistic_regression(x: jax.Array, label: jax.Array, regularisation: float = 1e-3, steps: int = 8,
                        begin: jax.Array | None = None) -> jax.Array:
  """w (D + 1,) of p = sigmoid(w^T (x, 1)): mean cross-entropy of positives and of negatives, weighed the same.

  Args: see `squared_hinge_svm`.
  """
  x, y, share = _examples(x, label)
  share = 0.5 * share
  objective = lambda w2, s: 0.5 * regularisation * w2 + (share * jax.nn.softplus(-y * s)).sum(-1)

  def derivatives(s):
    wrong = jax.nn.sigmoid(-y * s)
    return -share * y * wrong, share * wrong * (1 - wrong)

  return _newton(x, objective, derivatives, regularisation, steps, begin)


def _examples(x, label):
  """(x, 1), signs of labels, and of each example one over how many have its sign, (N,)."""
  y = jnp.sign(label).astype(jnp.float32)
  mean = lambda some: some / jnp.maximum(some.sum(), 1)
  return with_bias(x), y, mean((y > 0).astype(jnp.float32)) + mean((y < 0).astype(jnp.float32))


def _newton(x, objective, derivatives, regularisation, steps, begin):
  """Newton steps whose length is the best of halvings; `objective` takes |w|^2 (...) and scores (..., N)."""
  size = x.shape[-1]
  lengths = jnp.concatenate([0.5 ** jnp.arange(_HALVINGS, dtype=jnp.float32), jnp.zeros(1)])

  def body(_, w):
    s = x @ w
    first, second = derivatives(s)
    gradient = regularisation * w + x.T @ first
    hessian = regularisation * jnp.eye(size) + (x * second[:, None]).T @ x
    move = -jax.scipy.linalg.solve(hessian, gradient, assume_a="pos")
    tried = w + lengths[:, None] * move
    value = objective((tried ** 2).sum(-1), s + lengths[:, None] * (x @ move))
    value = jnp.where(jnp.isfinite(value), value, jnp.inf)
    return tried[jnp.argmin(value)]

  start = jnp.zeros(size) if begin is None else begin.astype(jnp.float32)
  return jax.lax.fori_loop(0, steps, body, start)


def lda(positives: jax.Array, weight: jax.Array, mean: jax.Array, covariance: jax.Array, ridge: float = 1e-2
        ) -> jax.Array:
  """w = (Sigma + ridge I)^-1 (mu_pos - mu), and the bias that puts 0 half way between: (D + 1,).

  Args:
    positives: (N, D).
    weight: (N,), 0 for what is no positive.
    mean: (D,) of everything, mu.
    covariance: (D, D) of everything, shared by all detectors of a video.
    ridge: times the mean of the covariance's diagonal.
  """
  weight = weight.astype(jnp.float32)
  own = (weight[:, None] * positives.astype(jnp.float32)).sum(0) / jnp.maximum(weight.sum(), 1e-12)
  level = ridge * jnp.trace(covariance) / len(mean) + 1e-12
  w = jax.scipy.linalg.solve(covariance + level * jnp.eye(len(mean)), own - mean, assume_a="pos")
  return jnp.append(w, -0.5 * w @ (own + mean))


def scores(x: jax.Array, w: jax.Array) -> jax.Array:
  """fp32 (..., P, K) of features (..., P, D) and detectors (K, D + 1)."""
  return jnp.einsum("...d,kd->...k", x, w[:, :-1].astype(x.dtype), preferred_element_type=jnp.float32) + w[:, -1]
