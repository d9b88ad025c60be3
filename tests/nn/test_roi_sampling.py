import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import boxes as boxes_lib
from vidx.nn.roi_sampling import RULES, Targets, roi_losses, roi_sample, roi_targets

TRUTH = np.array([[0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 10, 10]], "f")
ROIS = np.array([[0, 0, 10, 9], [20, 20, 40, 29], [21, 20, 40, 40], [60, 60, 70, 70], [0, 0, 0, 0]], "f")
VALID = np.array([1, 1, 1, 1, 0])


def targets(box_valid=(1, 1, 0)):
  return roi_targets(ROIS, VALID, TRUTH, np.array([3, 5, 7]), np.array(box_valid))


def test_a_box_is_of_what_it_overlaps_by_half_and_padding_is_neither():
  found = targets()
  assert found.label.tolist() == [3, 0, 5, 0, -1] and found.label.dtype == jnp.int32
  np.testing.assert_allclose(boxes_lib.decode(ROIS[[0, 2]], found.deltas[jnp.array([0, 2])]), TRUTH[:2], atol=1e-4)
  np.testing.assert_array_equal(found.deltas[jnp.array([1, 3, 4])], 0)


def test_a_frame_without_objects_is_all_background():
  assert targets((0, 0, 0)).label.tolist() == [0, 0, 0, 0, -1]


def some_labels(count=60, seed=0):
  rng = np.random.default_rng(seed)
  return rng.choice([-1, 0, 0, 0, 2], (2, count)), rng.normal(size=(2, count)).astype("f")


@pytest.mark.parametrize("rule", ["random", "balanced"])
def test_objects_fill_up_to_their_share_and_background_the_rest(rule):
  labels, hardness = some_labels()
  for size in (8, 20, 500):
    chosen = np.asarray(roi_sample(labels, hardness, jax.random.PRNGKey(0), size, rule=rule))
    for label, hard, took in zip(labels, hardness, chosen):
      objects, background = took & (label > 0), took & (label == 0)
      assert objects.sum() == min((label > 0).sum(), size // 4)
      assert background.sum() == min((label == 0).sum(), size - objects.sum()) and not took[label < 0].any()
      if rule == "balanced":
        hardest = np.sort(hard[label == 0])[::-1][:background.sum()]
        np.testing.assert_array_equal(np.sort(hard[background])[::-1], hardest)


def test_draws_follow_the_key_and_are_even():
  labels = np.tile([1, 0], 20)
  took = np.mean([roi_sample(labels, np.zeros(40), jax.random.PRNGKey(k), 20, rule="random") for k in range(60)], 0)
  assert 0.05 < took[::2].min() and took[::2].max() < 0.6
  np.testing.assert_allclose(took[::2].sum(), 5, atol=1e-4)


def test_the_hardest_that_lie_apart_are_taken_of_either_kind():
  labels, hardness = np.array([3, 0, 5, 0, -1]), np.array([0.1, 0.3, 0.9, 0.2, 7], "f")
  rois = ROIS.copy()
  rois[1] = rois[2] + 0.5
  chosen = roi_sample(labels, hardness, jax.random.PRNGKey(0), 3, rule="ohem", rois=rois)
  assert chosen.tolist() == [True, False, True, True, False]
  with pytest.raises(ValueError, match="needs rois"):
    roi_sample(labels, hardness, jax.random.PRNGKey(0), rule="ohem")
  with pytest.raises(ValueError, match="rule = 'hard' is not one of"):
    roi_sample(labels, hardness, jax.random.PRNGKey(0), rule="hard")


def test_losses_are_cross_entropy_and_smooth_l1_of_objects_alone():
  logits = np.random.default_rng(0).normal(size=(5, 8)).astype("f")
  given = Targets(jnp.array([3, 0, 5, 0, -1]), jnp.zeros((5, 4)))
  deltas = np.array([[0.5, 0, 0, 2], [9, 9, 9, 9], [0, 0, 0, 0], [9, 9, 9, 9], [9, 9, 9, 9]], "f")
  classes, moves = roi_losses(logits, deltas, given)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  np.testing.assert_allclose(classes, [-np.log(p[0, 3]), -np.log(p[1, 0]), -np.log(p[2, 5]), -np.log(p[3, 0]), 0],
                             rtol=1e-5)
  np.testing.assert_allclose(moves, [0.125 + 1.5, 0, 0, 0, 0], rtol=1e-6)


def test_they_lower_for_accelerators():
  def step(rois, valid, truth, label, there, logits, deltas, key):
    found = roi_targets(rois, valid, truth, label, there)
    classes, moves = roi_losses(logits, deltas, found)
    return [(roi_sample(found.label, classes, key, 128, rule=rule, rois=rois) * (classes + moves)).sum()
            for rule in RULES]
  shape = lambda *s, dtype=jnp.float32: jax.ShapeDtypeStruct(s, dtype)
  assert export.export(jax.jit(step), platforms=["tpu", "cuda"])(
      shape(2, 300, 4), shape(2, 300), shape(2, 9, 4), shape(2, 9, dtype=jnp.int32), shape(2, 9), shape(2, 300, 31),
      shape(2, 300, 4), shape(2, dtype=jnp.uint32))
