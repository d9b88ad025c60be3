import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.metrics.test_retrieval import embeddings
from vidx.metrics import retrieval
from vidx.nn import ranking


def by_loops(s, margin, which):
  n, total = len(s), 0.0
  for i in range(n):
    text = [max(0, margin + s[i, j] - s[i, i]) for j in range(n) if j != i]
    video = [max(0, margin + s[j, i] - s[i, i]) for j in range(n) if j != i]
    total += max(text) + max(video) if which == "hard" else (sum(text) + sum(video)) / (2 * (n - 1))
  return total / n


def test_the_published_example():
  s = jnp.array([[0.5, 0.4], [0.1, 0.3]])
  np.testing.assert_allclose(ranking.margin_loss(s, 0.2).mean(), 0.1, atol=1e-7)
  np.testing.assert_allclose(ranking.margin_loss(s, 0.2, "hard").mean(), 0.2, atol=1e-7)


@pytest.mark.parametrize("which", ranking.LOSSES)
def test_losses_equal_the_loops(which):
  s = np.random.default_rng(0).normal(size=(7, 7)).astype("f")
  np.testing.assert_allclose(jax.jit(ranking.margin_loss, static_argnums=(1, 2))(s, 0.3, which).mean(),
                             by_loops(s, 0.3, which), rtol=1e-5)


def test_equal_scores_cost_the_margin_and_a_wide_gap_nothing():
  np.testing.assert_allclose(ranking.margin_loss(jnp.full((5, 5), 0.7), 0.2), 0.2, rtol=1e-5)
  np.testing.assert_allclose(ranking.margin_loss(jnp.full((5, 5), 0.7), 0.2, "hard"), 0.4, rtol=1e-5)
  assert not np.any(ranking.margin_loss(jnp.eye(5), 0.2)) and not np.any(ranking.margin_loss(jnp.eye(5), 0.2, "hard"))


@pytest.mark.parametrize("which", ranking.LOSSES)
def test_what_is_no_negative_changes_nothing(which):
  s = np.random.default_rng(1).normal(size=(5, 5)).astype("f")
  live = np.array([1, 1, 1, 0, 0], bool)
  part = ranking.margin_loss(s, 0.2, which, live[:, None] & live[None])
  np.testing.assert_allclose(part[:3], ranking.margin_loss(s[:3, :3], 0.2, which), rtol=1e-6)
  np.testing.assert_array_equal(ranking.margin_loss(s, 0.2, which, np.zeros((5, 5), bool)), 0)


def test_an_unknown_loss_is_named():
  with pytest.raises(ValueError, match="'hardest' is not one of all, hard"):
    ranking.margin_loss(jnp.eye(2), 0.2, "hardest")


@pytest.mark.parametrize("parts", [(), ("global",), ("local",)])
def test_scores_are_those_that_are_served_in_two_products(parts):
  text, video = embeddings(np.random.default_rng(4))
  found = jax.jit(lambda t, v: ranking.scores(t, v, parts))(text, video)
  np.testing.assert_allclose(found, retrieval.similarity(text, video, parts), atol=1e-5)
  assert found.dtype == jnp.float32


def test_one_expert_of_all_the_weight_is_the_plain_cosine():
  text, video = embeddings(np.random.default_rng(5), experts=1)
  video["available"] = np.ones((7, 1))
  found = ranking.scores(text, video, ("global",))
  np.testing.assert_allclose(found, text["global"][:, 0] @ video["global"][:, 0].T, atol=1e-5)
  same = {"global": text["global"].repeat(3, 1), "weights": np.full((9, 3), 1 / 3)}
  three = {"global": video["global"].repeat(3, 1), "available": np.ones((7, 3))}
  np.testing.assert_allclose(ranking.scores(same, three), found, atol=1e-5)


def test_gradients_are_finite_where_a_video_has_no_expert():
  text, video = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), embeddings(np.random.default_rng(6), texts=7))
  grads = jax.grad(lambda t, v: ranking.margin_loss(ranking.scores(t, v), 0.2).mean(), argnums=(0, 1))(text, video)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
