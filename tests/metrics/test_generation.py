import numpy as np
import pytest
from scipy import linalg

from vidx import errors
from vidx.metrics import generation


def some(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape)


def test_a_set_has_no_distance_from_itself():
  x = some(50, 8)
  assert generation.fid(x, x, generation.WEIGHTS["fid"]) < 1e-9


def test_the_distance_of_gaussians_is_the_closed_form():
  a, b = some(6, 6), some(6, 6, seed=1)
  s1, s2, m1, m2 = a @ a.T, b @ b.T, some(6, seed=2), some(6, seed=3)
  expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
  assert generation.frechet(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-6)
  assert generation.frechet(np.zeros(3), np.eye(3), np.ones(3), 4 * np.eye(3)) == pytest.approx(3 + 3)


def test_singular_covariances_do_no_harm_and_one_image_is_refused():
  assert np.isfinite(generation.fid(some(3, 20), some(3, 20, seed=1), generation.WEIGHTS["fid"]))
  with pytest.raises(errors.DataError, match="two images"):
    generation.moments(some(1, 4))


@pytest.mark.parametrize("weights", ["", "random"])
def test_other_weights_are_refused(weights):
  with pytest.raises(errors.ConfigError, match="fid is the metric"):
    generation.fid(some(4, 4), some(4, 4), weights)
  with pytest.raises(errors.ConfigError, match="lpips is the metric"):
    generation.lpips([some(1, 2, 2, 3)], [some(1, 2, 2, 3)], [np.ones(3)], weights)


def test_perceptual_distance_equals_the_loop_and_is_zero_for_equal_images():
  x, y, heads = [some(2, 3, 3, 4)], [some(2, 3, 3, 4, seed=1)], [abs(some(4))]
  found = generation.lpips(x, y, heads, generation.WEIGHTS["lpips"])
  for n in range(2):
    total = 0.0
    for i in range(3):
      for j in range(3):
        a, b = x[0][n, i, j], y[0][n, i, j]
        total += (heads[0] * (a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2).sum() / 9
    assert found[n] == pytest.approx(total)
  assert not generation.lpips(x, x, heads, generation.WEIGHTS["lpips"]).any()


def test_affinities_lie_between_the_sigmoids_of_one_and_minus_one():
  x = some(5, 7)
  np.testing.assert_allclose(generation.affinity(x, 3 * x), 1 / (1 + np.exp(-1)))
  np.testing.assert_allclose(generation.affinity(x, -x), 1 / (1 + np.exp(1)))
  between = generation.affinity(x, some(5, 7, seed=1))
  assert ((between > 0.268) & (between < 0.732)).all()


def test_pixels_and_colours_are_compared_in_their_units():
  black, white = np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4, 3), 255, np.uint8)
  found = generation.image_errors(black, white)
  assert (found["l1"][0], found["colour"][0], found["psnr"][0]) == (100, 100, pytest.approx(0))
  assert generation.image_errors(black, black)["psnr"][0] == 100


def test_the_margin_loss_is_zero_once_the_same_clip_is_nearer_by_the_margin():
  near, far = np.asarray([1.0, 0]), np.asarray([0, 1.0])
  assert generation.margin_loss(near, near, far) == 0
  assert generation.margin_loss(near, far, near) == pytest.approx(1.3)
