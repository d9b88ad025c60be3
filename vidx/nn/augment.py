"""What happens to clips on the device: normalisation, mixup, cutmix."""

from collections.abc import Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp


def normalize(video: jax.Array, mean: Sequence[float], std: Sequence[float],
              dtype: jnp.dtype = jnp.float32) -> jax.Array:
  """(video / 255 - mean) / std per channel, computed in fp32.

  Args:
    video: (..., C) uint8.
    mean: C values in units of 0..1.
    std: C values in units of 0..1.
    dtype: of the result.

  Returns:
    (..., C) of `dtype`.
  """
  mean, std = jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32)
  return (video.astype(jnp.float32) * (1 / (255 * std)) - mean / std).astype(dtype)


def normalize_flow(flow: jax.Array, std: Sequence[float], dtype: jnp.dtype = jnp.float32) -> jax.Array:
  """`normalize` for optical flow, (..., 2) uint8: about 127.5, by the mean of the colours' deviations, as TSN does."""
  return normalize(flow, (0.5, 0.5), (sum(std) / len(std),) * 2, dtype)


def on_device(batch: Mapping[str, Any], mean: Sequence[float], std: Sequence[float],
              dtype: jnp.dtype = jnp.float32) -> dict[str, Any]:
  """A batch with its clips normalised: uint8 `video` and `flow` become `dtype`, everything else stays.

  The one place where bytes become what a model is called with.

  Args:
    batch: arrays by key.
    mean: 3 values in units of 0..1.
    std: 3 values in units of 0..1.
    dtype: compute dtype.
  """
  known = {"video": lambda x: normalize(x, mean, std, dtype), "flow": lambda x: normalize_flow(x, std, dtype)}
  return {k: known[k](v) if k in known else v for k, v in batch.items()}


def mixup(key: jax.Array, video: jax.Array, labels: jax.Array, alpha: float) -> tuple[jax.Array, jax.Array]:
  """Mixes every clip with one other of its batch: r x + (1 - r) x', r ~ Beta(alpha, alpha).

  Zhang et al.: "mixup: Beyond Empirical Risk Minimization", 2018.

  Args:
    key: PRNG key.
    video: (B, T, H, W, C).
    labels: (B, K) one-hot or soft.
    alpha: above 0; one share r per batch.

  Returns:
    (video, labels), shapes and dtypes as given.
  """
  chex.assert_rank([video, labels], [5, 2])
  key, order_key = jax.random.split(key)
  order = jax.random.permutation(order_key, video.shape[0])
  share = jax.random.beta(key, alpha, alpha)
  return _mix(video, video[order], share), _mix(labels, labels[order], share)


def cutmix(key: jax.Array, video: jax.Array, labels: jax.Array, alpha: float) -> tuple[jax.Array, jax.Array]:
  """Pastes a box of one other clip of the batch into every clip, the same box in all frames.

  The box has the frame's aspect and covers 1 - r of it before clipping at the
  borders, r ~ Beta(alpha, alpha); labels are mixed by the area really covered.
  Yun et al.: "CutMix", 2019.

  Args:
    key: PRNG key.
    video: (B, T, H, W, C).
    labels: (B, K) one-hot or soft.
    alpha: above 0; one box per batch.

  Returns:
    (video, labels), shapes and dtypes as given.
  """
  chex.assert_rank([video, labels], [5, 2])
  share_key, order_key, y_key, x_key = jax.random.split(key, 4)
  height, width = video.shape[2:4]
  order = jax.random.permutation(order_key, video.shape[0])
  side = jnp.sqrt(1 - jax.random.beta(share_key, alpha, alpha))

  def inside(key, size):
    """(size,) booleans: an interval of side * size around a random centre."""
    centre = jax.random.uniform(key) * size
    at = jnp.arange(size) + 0.5
    return jnp.abs(at - centre) < side * size / 2

  box = inside(y_key, height)[:, None] & inside(x_key, width)[None]
  video = jnp.where(box[None, None, :, :, None], video[order], video)
  return video, _mix(labels, labels[order], 1 - jnp.mean(box.astype(jnp.float32)))


def _mix(a: jax.Array, b: jax.Array, share: jax.Array) -> jax.Array:
  share = share.astype(a.dtype)
  return a * share + b * (1 - share)
