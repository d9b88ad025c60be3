"""The worlds of the claims of AVSlowFast, without their trainings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.bench import claims as claims_lib

KEY = jax.random.PRNGKey(0)


@pytest.fixture(scope="module")
def claims():
  """The file's module."""
  return claims_lib.module("avslowfast")


def test_a_beep_sounds_in_the_row_of_every_flash_and_displaced_sound_is_that_of_another_time(claims):
  video, audio, displaced, tempo = map(np.asarray, claims.flashing(KEY))
  flash, beep, late = video.max((2, 3, 4)) > 1.4, audio.max((2, 3)) > 2, displaced.max((2, 3)) > 2
  assert (flash <= beep).all() and flash.mean() > 0.5 * beep.mean()  # some flashes are too faint for the threshold
  assert not (beep == late).all(1).any()
  for on, slow in zip(beep, tempo):
    assert set(np.diff(np.flatnonzero(on))) <= {2 + slow, 3 + slow}


def test_strangers_sound_like_the_clip_before(claims):
  (_, audio, _, other, *_), _ = claims.strangers(KEY)
  np.testing.assert_array_equal(other[1:], audio[:-1])


def test_a_clip_keeps_its_hum_and_its_class_and_new_ones_hum_otherwise(claims):
  clips = jax.vmap(lambda i: jax.random.fold_in(KEY, i))(jnp.arange(4))
  ((a, hum, _), x), ((b, again, _), y) = (claims.humming(clips, k) for k in jax.random.split(KEY))
  np.testing.assert_array_equal(x, y)
  assert np.std(a - b) > 1.2 and 0.35 < np.std(hum - again) < 0.5  # noise of deviation 0.3 on both
  spectra = np.asarray(hum.mean(1))[..., 0]
  assert np.abs(spectra[:, None] - spectra).max(-1)[~np.eye(4, dtype=bool)].min() > 1


def test_a_square_and_its_tone_share_no_half(claims, monkeypatch):
  monkeypatch.setattr(claims, "noisy", lambda key, x, deviation: x)
  (video, audio, _), label = claims.halves(KEY)
  seen, heard = (np.asarray(x).reshape(len(label), 2, -1).any(2) for x in (video, audio))
  assert (seen ^ heard).all() and (seen.sum(1) == 1).all()
  bands = np.asarray(audio)[..., 0].any(1).reshape(len(label), 4, -1)
  np.testing.assert_array_equal(bands, np.repeat(np.eye(4, dtype=bool)[np.asarray(label) % 4, :, None], 4, 2))
  assert set(np.asarray(label) // 4) == set(np.asarray(label) % 4) == set(range(4))


def test_streams_are_given_their_share(claims):
  whole, label = claims.squares(KEY)
  for streams, expected in (("both", whole), ("sight", whole[:1]), ("sound", whole[1:])):
    given, same = claims.SQUARES[streams](KEY)
    assert len(given) == len(expected)
    for x, y in zip((*given, same), (*expected, label)):
      np.testing.assert_array_equal(x, y)


def test_a_square_comes_in_again_behind(claims):
  x = np.asarray(claims.moving(KEY, jnp.zeros(1, jnp.int32), claims.SIZE + 1))[0, ..., 0]
  assert (x.sum((1, 2)) == x[0].sum()).all() and x[0].sum() in (16, 20, 25)
  np.testing.assert_array_equal(x[0], x[-1])
  np.testing.assert_array_equal(np.roll(x[3], 1, 1), x[4])
