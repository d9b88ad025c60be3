"""The claims of disentangling without their trainings."""

import numpy as np
import pytest

from vidx.bench import claims as claims_lib


@pytest.fixture
def claims(monkeypatch):
  """The file's module, with pictures that say in every pixel who stands how."""
  module = claims_lib.module("disentangle")
  shown = np.stack(np.broadcast_arrays(*np.ogrid[:40, :24], 0), -1).astype(np.uint8)[:, :, None, None]
  monkeypatch.setattr(module, "pictures", lambda split: (np.broadcast_to(shown, (40, 24, 4, 4, 3)), None))
  return module


def test_nobody_is_seen_in_training_at_an_azimuth_that_is_kept_for_the_test(claims):
  known, kept = claims.azimuths(False), claims.azimuths(True)
  assert all(sorted([*a, *b]) == list(range(24)) for a, b in zip(known.tolist(), kept.tolist()))
  (video, _, cluster), _ = claims.batches(claims.jax.random.PRNGKey(0))
  video = np.asarray(video)[:, :, 0, 0]
  who, at = np.moveaxis(np.round((video[..., :2] + 1) * 127.5).astype(int), -1, 0)
  assert all(a in known[w] for w, a in zip(who.reshape(-1), at.reshape(-1)))
  assert (who[:, 0] == who[:, 2]).all() and (who[:, 1] != who[:, 2]).all() and (at[:, 1] == at[:, 2]).all()
  assert (cluster == at[:, 2] // 2).all()


def test_azimuths_are_apart_either_way_round(claims):
  assert claims.away(np.array([0, 23, 12, 5]), np.array([23, 0, 0, 5])).tolist() == [1, 1, 12, 0]


def test_colours_come_nearer_to_the_palette(claims):
  after, before = claims.palette(0, steps=10)
  assert after < before


def test_the_way_down_ends_at_the_minimum_and_not_a_step_beside_it(claims):
  assert claims.palette(0)[0] == pytest.approx(claims.palette(0, steps=400)[0], abs=0.03)
