import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import augment


@pytest.fixture
def clips():
  video = jax.random.normal(jax.random.PRNGKey(0), (6, 2, 8, 10, 3))
  return video, jax.nn.one_hot(jnp.arange(6), 6)


def test_normalisation_equals_the_formula_in_every_dtype():
  video = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 4, 3)).astype(np.uint8)
  mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
  expected = (video / 255.0 - np.asarray(mean)) / np.asarray(std)
  np.testing.assert_allclose(augment.normalize(video, mean, std), expected, atol=1e-5)
  half = augment.normalize(video, mean, std, jnp.bfloat16)
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half.astype(jnp.float32), expected, atol=0.02)


@pytest.mark.parametrize("mix", [augment.mixup, augment.cutmix])
def test_labels_stay_a_distribution_and_name_what_was_mixed(mix, clips):
  video, labels = clips
  mixed, soft = jax.jit(mix, static_argnums=3)(jax.random.PRNGKey(3), video, labels, 1.0)
  assert mixed.shape == video.shape and mixed.dtype == video.dtype
  np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
  assert ((soft > 0).sum(1) <= 2).all()


def test_mixup_is_the_same_sum_of_clips_and_of_labels(clips):
  video, labels = clips
  mixed, soft = augment.mixup(jax.random.PRNGKey(5), video, labels, 1.0)
  np.testing.assert_allclose(mixed, jnp.einsum("bk,kthwc->bthwc", soft, video), rtol=1e-4, atol=1e-5)


def test_cutmix_pastes_one_box_into_all_frames_and_weighs_labels_by_its_area(clips):
  video, labels = clips
  for seed in range(4):
    mixed, soft = augment.cutmix(jax.random.PRNGKey(seed), video, labels, 1.0)
    kept = np.asarray((mixed == video).all(-1))
    for b in range(6):
      if soft[b, b] == 1 and kept[b].all():
        continue
      assert (kept[b] == kept[b, :1]).all()
      np.testing.assert_allclose(soft[b, b], kept[b, 0].mean(), atol=1e-6)
      rows, columns = (~kept[b, 0]).any(1), (~kept[b, 0]).any(0)
      assert (~kept[b, 0]).sum() == rows.sum() * columns.sum()


def test_mixing_depends_on_the_key_alone(clips):
  one, two = (augment.mixup(jax.random.PRNGKey(7), *clips, 0.4)[0] for _ in range(2))
  other = augment.mixup(jax.random.PRNGKey(8), *clips, 0.4)[0]
  np.testing.assert_array_equal(one, two)
  assert (one != other).any()
