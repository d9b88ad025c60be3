"""Pixel verification: an image made again of the pixels of another one, which its features pick.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5. No parameters, and no
window: every pixel may come from anywhere.
"""

import jax
import jax.numpy as jnp

from vidx.nn import choices, pool, shapes
from vidx.nn.attention import attend

NORMS = ("cosine", "none")


def pixel_verification(of: jax.Array, others: jax.Array, image: jax.Array, *, norm: str = "cosine", tau: float = 0.05,
                       stride: int = 1, chunk: int = 1024) -> jax.Array:
  """softmax(of others^T / tau) image: each pixel a mean of the image's, weighted by how alike their features are.

  The matrix of 2^28 weights for an image of 128 x 128 never exists: rows are made
  a chunk at a time, also for the gradient; sums are fp32.

  Args:
    of: (B, H, W, D) features of the pixels that are looked for.
    others: (B, H, W, D) features of the pixels of `image`.
    image: (B, H, W, C).
    norm: 'cosine': features have length 1 and are divided by `tau`; 'none': products as
      they are, as printed.
    tau: temperature of 'cosine'.
    stride: features and image are first averaged over squares of so many pixels.
    chunk: rows at a time; 0 for all.

  Returns:
    fp32 (B, H / stride, W / stride, C).

  Raises:
    ValueError: arrays that do not fit, a stride that does not divide H and W, or a temperature that is none.
  """
  sizes = shapes.check("pixel_verification", of=(of, "B H W D"), others=(others, "B H W D"), image=(image, "B H W C"))
  shapes.check_numbers("pixel_verification", stride=stride)
  shapes.check_numbers("pixel_verification", 0, chunk=chunk)
  if sizes["H"] % stride or sizes["W"] % stride:
    raise ValueError(f"pixel_verification: stride = {stride} does not divide images of {sizes['H']} x {sizes['W']}")
  if norm == "cosine" and not tau > 0:
    raise ValueError(f"pixel_verification: tau = {tau} is not above 0")
  choices.check("pixel_verification: norm", norm, NORMS)
  of, others, image = (shrunk(x.astype(jnp.float32), stride) for x in (of, others, image))
  if norm == "cosine":
    of, others = unit(of), unit(others)
  rows = lambda x: x.reshape(x.shape[0], -1, 1, x.shape[-1])
  out = attend(rows(of), rows(others), rows(image), scale=1 / tau if norm == "cosine" else 1.0, chunk=chunk)
  return out.reshape(*of.shape[:3], image.shape[-1])


def verification_loss(of: jax.Array, others: jax.Array, image: jax.Array, generated: jax.Array, *, stride: int = 1,
                      **options) -> jax.Array:
  """fp32 (B,): mean distance of the generated image (B, H, W, C) from itself made of the pixels of `image`."""
  again = pixel_verification(of, others, image, stride=stride, **options)
  return jnp.abs(again - shrunk(generated.astype(jnp.float32), stride)).mean((1, 2, 3))


def unit(x: jax.Array) -> jax.Array:
  """x with its last axis at length 1; zeros, and their gradient, stay zeros."""
  square = jnp.sum(x * x, -1, keepdims=True)
  return x * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


def shrunk(x: jax.Array, stride: int) -> jax.Array:
  """(B, H, W, C) averaged over squares of `stride` pixels."""
  if stride == 1:
    return x
  return pool.average_pool(x[:, None], (1, stride, stride), (1, stride, stride), (0, 0, 0))[:, 0]
