import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn.segment_masks import segment_of_frame
from vidx.nn.sequence import stretch
from vidx.nn.soft_boundaries import entry_labels, insert_entries, soft_loss

FRAMES, CLASSES = 60, 5
RNG = np.random.default_rng(0)
LABELS = np.array([[2, 0, 3, 1], [4, 2, 0, 0], [1, 0, 0, 0]])
LIVE = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], bool)
LENGTHS = np.array([60, 41, 17])


def inserted_by_loops(probs, labels, length, rounds):
  entries = [[m] for m in range(len(labels))]
  for _ in range(rounds):
    total, done, more = sum(map(len, entries)), 0, [0] * len(entries)
    for m in range(len(entries) - 1):
      done += len(entries[m])
      first, last = (int(np.clip(np.round((done + s) * length / total), 0, length)) for s in (-0.5, 0.5))
      before, after = (probs[first:last, labels[i]].sum() for i in (m, m + 1))
      more[m if before >= after else m + 1] += 1
    entries = [e + [m] * more[m] for m, e in enumerate(entries)]
  return [len(e) for e in entries]


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_equals_the_loop_and_sees_no_padding(rounds):
  probs = np.asarray(jax.nn.softmax(3 * RNG.normal(size=(3, FRAMES, CLASSES)).astype("f")))
  found = jax.jit(insert_entries, static_argnums=4)(probs, LABELS, LIVE, LENGTHS, 3, rounds)
  for i, n in enumerate(LENGTHS):
    k = LIVE[i].sum()
    assert found[i, :k].tolist() == inserted_by_loops(probs[i, :n], LABELS[i, :k], n, rounds)
    assert not found[i, k:].any() and found[i].sum() == k + rounds * (k - 1)


def test_boundaries_move_to_where_the_classes_change():
  right = []
  for lengths in RNG.multinomial(FRAMES - 20, np.ones(4) / 4, size=50) + 5:
    truth = np.repeat(LABELS[0], lengths)[None]
    probs = np.eye(CLASSES)[truth]
    shares = []
    for rounds in (0, 2, 6):
      counts = insert_entries(probs, LABELS[:1], LIVE[:1], LENGTHS[:1], 6, rounds)
      found = stretch(entry_labels(LABELS[:1], counts, 28), counts.sum(1), LENGTHS[:1], FRAMES)
      shares.append((np.asarray(found) == truth).mean())
    right.append(shares)
  even, two, six = np.mean(right, 0)
  assert even < two < six and six > 0.93, (even, two, six)


def test_targets_go_along_a_ramp_and_have_a_gradient():
  entries, total, length = np.array([[1, 3, 0]]), np.array([2]), np.array([8])
  mask = np.arange(10)[None] < 8
  logits = RNG.normal(size=(1, 10, CLASSES)).astype("f")
  ramp = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)
  target = np.zeros((1, 10, CLASSES))
  target[0, :8, 1], target[0, :8, 3] = 1 - ramp, ramp

  def loss(x):
    return soft_loss(jax.nn.log_softmax(x), entries, total, length, mask)[0]

  np.testing.assert_allclose(loss(logits), -(target * jax.nn.log_softmax(logits)).sum() / 8, rtol=1e-5)
  np.testing.assert_allclose(jax.grad(loss)(logits), np.where(
      mask[..., None], jax.nn.softmax(logits) - target, 0) / 8, atol=1e-6)


def test_entries_stand_segment_by_segment():
  found = entry_labels(jnp.asarray(LABELS[:1]), jnp.array([[2, 1, 3, 1]]), 9)
  assert found[0, :7].tolist() == [2, 2, 0, 3, 3, 3, 1]
  assert segment_of_frame(jnp.array([2, 1]), 3).tolist() == [0, 0, 1]
