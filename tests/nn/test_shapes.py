import functools

import jax
import jax.numpy as jnp
import pytest

from vidx.nn import log_mel, match_transform, nms, pixel_verification, ps_roi_pool, roi_align, shapes

B, N, P = jnp.zeros((2, 3, 4)), jnp.zeros((2, 5, 6, 9)), jnp.ones((1, 8, 8, 3))


def test_letters_are_the_same_size_wherever_they_stand():
  given = dict(memory=(jnp.zeros((2, 7, 5, 6, 9)), "... h w D"), mask=(None, "... h w"), now=(B[0, 0], "4"))
  assert shapes.check("f", **given) == {"...": (2, 7), "h": 5, "w": 6, "D": 9}
  with pytest.raises(ValueError, match=r"^f: b has the shape \(2, 3\), not \(n, n\) with n = 2$"):
    shapes.check("f", a=(jnp.zeros(2), "n"), b=(jnp.zeros((2, 3)), "n n"))


@pytest.mark.parametrize("call, said", [
    (lambda: nms([[0, 0, 1, 1]], [1.0], 0.5, 2), "nms: scores is no array but list"),
    (lambda: nms(B, B[0, :, 0], 0.5, 2), r"nms: boxes has the shape \(2, 3, 4\), not \(..., P, 4\)"),
    (lambda: nms(B[..., :3], B[..., 0], 0.5, 2), r"nms: boxes has the shape \(2, 3, 3\)"),
    (lambda: nms(B, B[..., 0], 50, 2), "nms: iou = 50 is not in 0 to 1"),
    (lambda: nms(B, B[..., 0], 0.5, 2.5), "nms: size = 2.5 is no whole number"),
    (lambda: ps_roi_pool(N, B[:1], 3), r"ps_roi_pool: boxes has the shape \(1, 3, 4\), not \(B, N, 4\) with B = 2$"),
    (lambda: ps_roi_pool(N[0], B, 3), r"ps_roi_pool: features has the shape \(5, 6, 9\), not \(B, H, W, D\)$"),
    (lambda: ps_roi_pool(N.astype(int), B, 3), "ps_roi_pool: features has the dtype int32"),
    (lambda: ps_roi_pool(N, B, 0), "ps_roi_pool: bins = 0"),
    (lambda: roi_align(N, B[:1]), r"roi_align: boxes has the shape \(1, 3, 4\)"),
    (lambda: match_transform(N, N[:, :4], N[:, :4]), r"match_transform: now has the shape \(2, 4, 6, 9\)"),
    (lambda: match_transform(N, N, N[..., :1]), r"match_transform: before has the shape \(2, 5, 6, 1\)"),
    (lambda: match_transform(N, N, N, N[:, :, 1:, 0]), r"match_transform: mask has the shape \(2, 5, 5\)"),
    (lambda: match_transform(N, N, N, reach=-1), "match_transform: reach = -1"),
    (lambda: pixel_verification(P, P[..., :1], P), r"others has the shape \(1, 8, 8, 1\)"),
    (lambda: pixel_verification(P, P, P, stride=3), "stride = 3 does not divide images of 8 x 8"),
    (lambda: pixel_verification(P, P, P, tau=0), "tau = 0 is not above 0"),
    (lambda: log_mel(jnp.zeros(16000, jnp.int16)), "log_mel: waveform has the dtype int16"),
    (lambda: log_mel(jnp.zeros(16000), hop=0), "log_mel: hop = 0"),
    (lambda: log_mel(jnp.zeros(())), r"log_mel: waveform has the shape \(\), not \(..., S\)"),
])
def test_what_does_not_fit_is_told_before_it_is_broadcast_or_cut(call, said):
  with pytest.raises(ValueError, match=said):
    call()


def test_no_boxes_are_none_that_are_kept():
  kept = jax.eval_shape(functools.partial(nms, iou=0.5, size=3), B[:, :0], B[:, :0, 0])
  assert kept.index.shape == kept.valid.shape == (2, 3)
  assert not nms(B[:, :0], B[:, :0, 0], 0.5, 3).valid.any()
