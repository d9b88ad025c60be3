"""The claims of HATNet without their trainings: tags say what clips show, and networks are as large as they should."""

import jax
import numpy as np
import pytest

from vidx.bench import claims as claims_lib


@pytest.fixture(scope="module")
def claims():
  return claims_lib.module("hatnet")


def test_tags_say_what_clips_show(claims, monkeypatch):
  monkeypatch.setattr(claims, "NOISE", 0.0)
  for i in range(24):
    x, own = claims.one(jax.random.PRNGKey(i))
    moved = np.asarray(claims.SPEED * claims.WAYS[own["action"]], int)
    changed = [np.abs(np.asarray(x[t] - x[t + 1])).max() > 0.01 for t in range(claims.FRAMES - 1)]
    assert any(changed)
    there = np.asarray([True] * claims.FRAMES)
    there[:2] &= own["event"] != 1
    there[-2:] &= own["event"] != 2
    empty = np.asarray(x[~there][0] if (~there).any() else x.min(0))
    for t in range(claims.FRAMES - 1):
      if there[t] and there[t + 1] and (~there).any():
        mask, after = (np.abs(np.asarray(x[u]) - empty).max(-1) > 1e-3 for u in (t, t + 1))
        assert (np.roll(mask, moved, (0, 1)) == after).mean() > 0.9
    assert int(own["concept"]) == int(own["object"]) % 2


def test_every_category_has_one_tag_and_heads_are_cut_in_their_order(claims):
  x, tags = claims.tagged(jax.random.PRNGKey(0))
  assert x.shape == (claims.BATCH, claims.FRAMES, claims.SIZE, claims.SIZE, 3)
  assert all((np.asarray(t).sum(-1) == 1).all() for t in tags.values())
  logits = np.concatenate([tags[k] for k in claims.CATEGORIES], -1)
  assert all((np.asarray(claims.heads(logits)[k]) == np.asarray(tags[k])).all() for k in claims.CATEGORIES)


def test_networks_have_as_many_parameters_within_a_tenth(claims):
  sizes = {arm: claims.parameters(arm) for arm in claims.ARMS}
  assert all(abs(size / sizes["hatnet"] - 1) < 0.1 for size in sizes.values())


def test_labelled_clips_of_new_actions_are_always_the_same(claims):
  first, second = (claims.few(jax.random.PRNGKey(i))[0] for i in (0, 0))
  seen = {np.asarray(c).tobytes() for i in range(12) for c in claims.few(jax.random.PRNGKey(i))[0]}
  assert np.array_equal(first, second) and 20 < len(seen) <= claims.FEW
