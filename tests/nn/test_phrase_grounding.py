import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn.phrase_grounding import STATISTICS, SemanticEmbedding, drawn_negatives, phrase_masks

X = np.random.default_rng(0).normal(size=(4, 3, 5, 6)).astype("f")
CODES = np.random.default_rng(1).normal(size=(4, 2, 8)).astype("f")


@functools.cache
def made(**fields):
  model = SemanticEmbedding(**{"hidden": 7, "dim": 8, "dropout": 0.0, **fields})
  return model, promises.some_variables(model, X)


def embedded(train=False, seed=0, **fields):
  model, variables = made(**fields)
  return model.apply(variables, X, train, mutable=["batch_stats"], rngs={"dropout": jax.random.PRNGKey(seed)})


def test_it_has_the_parameters_of_a_perceptron_and_a_normalisation():
  shapes = jax.eval_shape(SemanticEmbedding().init, jax.random.PRNGKey(0), jnp.zeros((1, 14, 14, 512)))["params"]
  size = lambda part: sum(x.size for x in jax.tree.leaves(part))
  assert size(shapes["norm"]) == 2048 and size(shapes) - 2048 == 1_574_912


@pytest.mark.parametrize("train", [False, True])
def test_a_linear_perceptron_scores_an_image_as_the_mean_of_its_places_and_one_with_relu_does_not(train):
  scores = lambda image, places: (jnp.einsum("bd,bnd->bn", image, CODES),
                                  jnp.einsum("bhwd,bnd->bnhw", places, CODES).mean((-2, -1)))
  np.testing.assert_allclose(*scores(*embedded(train, linear=True)[0]), rtol=1e-4, atol=1e-4)
  assert np.abs(np.subtract(*scores(*embedded(train)[0]))).max() > 0.1


@pytest.mark.parametrize("statistics", STATISTICS)
def test_images_and_places_are_normalised_alike_by_the_statistics_of_one_or_both(statistics):
  model, variables = made(statistics=statistics)
  p = variables["params"]
  hidden = lambda x: np.maximum(x @ p["first"]["kernel"] + p["first"]["bias"], 0)
  codes = lambda x: np.asarray(hidden(x) @ p["second"]["kernel"] + p["second"]["bias"])
  image, places = codes(X.mean((1, 2))), codes(X)
  of = {"image": image, "spatial": places.reshape(-1, 8), "both": np.concatenate([image, places.reshape(-1, 8)])}
  mean, var = of[statistics].mean(0), of[statistics].var(0)
  normal = lambda x: (x - mean) / np.sqrt(var + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
  found, after = embedded(True, statistics=statistics)
  np.testing.assert_allclose(found[0], normal(image), rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(found[1], normal(places), rtol=1e-3, atol=1e-3)
  kept = variables["batch_stats"]["norm"]["mean"]
  np.testing.assert_allclose(after["batch_stats"]["norm"]["mean"], 0.9 * kept + 0.1 * mean, rtol=1e-3, atol=1e-4)


def test_places_lose_no_units_unless_they_are_to_lose_those_of_their_image():
  places = lambda seed, **fields: embedded(True, seed, dropout=0.5, statistics="spatial", **fields)[0][1]
  np.testing.assert_array_equal(places(0), places(1))
  assert (places(0, spatial_dropout=True) != places(1, spatial_dropout=True)).any()
  linear = lambda seed: embedded(True, seed, dropout=0.5, spatial_dropout=True, linear=True)[0]
  image, of_places = linear(3)
  np.testing.assert_allclose(image, of_places.mean((1, 2)), rtol=1e-3, atol=1e-3)  # the same units


def test_masks_are_fits_of_places_and_phrases_in_their_range():
  places = np.random.default_rng(2).normal(size=(4, 3, 5, 8)).astype("f")
  fits = 0.5 * np.einsum("bhwd,bnd->bnhw", places, CODES)
  np.testing.assert_allclose(phrase_masks(places, CODES, 0.5), 1 / (1 + np.exp(-fits)), rtol=1e-4)
  np.testing.assert_allclose(phrase_masks(places, CODES, 0.5, "softplus"), np.log1p(np.exp(fits)), rtol=1e-4)
  between = phrase_masks(places, CODES, 0.5, "minmax")
  assert (between.min((-2, -1)) == 0).all() and np.allclose(between.max((-2, -1)), 1)
  flat = phrase_masks(np.ones_like(places), CODES, 0.5, "minmax")
  assert not flat.any()
  with pytest.raises(ValueError, match="sigmoid"):
    phrase_masks(places, CODES, 1.0, "sigmoids")


def test_negatives_are_as_many_phrases_of_other_images_as_there_are_own_and_none_that_the_image_has():
  names = jnp.array([[1, 2, -1], [3, 1, 4], [5, -1, -1]])
  scores = jnp.arange(27.0).reshape(3, 3, 3) + 1
  places = {float(scores[i, j, n]): (i, int(names[j, n])) for i in range(3) for j in range(3) for n in range(3)}
  seen = {i: set() for i in range(3)}
  for key in jax.random.split(jax.random.PRNGKey(0), 40):
    drawn, there = drawn_negatives(key, scores, names)
    np.testing.assert_array_equal(there, names >= 0)
    assert (np.asarray(drawn)[~np.asarray(there)] == 0).all()
    for i, n in np.argwhere(there).tolist():
      image, name = places[float(drawn[i, n])]
      assert image == i
      seen[i].add(name)
  assert seen == {0: {3, 4, 5}, 1: {2, 5}, 2: {1, 2, 3, 4}}


def test_where_no_other_image_has_phrases_there_are_no_negatives():
  drawn, there = drawn_negatives(jax.random.PRNGKey(0), jnp.ones((2, 2, 2)), jnp.array([[1, 2], [-1, -1]]))
  assert not there.any() and np.isfinite(drawn).all()
  drawn, there = drawn_negatives(jax.random.PRNGKey(0), jnp.ones((2, 2, 2)), jnp.array([[1, 2], [2, 1]]))
  assert not there.any()
