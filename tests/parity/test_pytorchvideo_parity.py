import numpy as np
import pytest

from tests.parity import peers

import vidx
from vidx.backbones import slowfast

pytest.importorskip("pytorchvideo")
hub = pytest.importorskip("pytorchvideo.models.hub")
from pytorchvideo.models.x3d import create_x3d  # noqa: E402

torch = peers.torch
SIDE = 32  # so that stages end at one pixel


def some(frames, side=SIDE):
  return np.random.default_rng(0).normal(size=(2, frames, side, side, 3)).astype("f")


@pytest.mark.parametrize("name, peer, pool, frames", [
    ("slowonly_r50_8x8", "slow_r50", None, 8),
    ("c2d_r50", "c2d_r50", (2, 1, 1), 4),
    ("i3d_r50", "i3d_r50", (2, 1, 1), 4),
    ("r2plus1d_r50", "r2plus1d_r50", (1, 1, 1), 4),
])
def test_single_pathways_equal_pytorchvideo(name, peer, pool, frames):
  module = getattr(hub, peer)(head_activation=None, model_num_class=7, **(
      dict(head_pool_kernel_size=pool) if pool else {}))
  if pool is None:  # this name fixes the pool of its head
    module.blocks[-1].pool = torch.nn.AvgPool3d((frames, 1, 1), stride=1)
  peers.compare(vidx.create_model(name, num_classes=7), module, "pytorchvideo", some(frames))


@pytest.mark.parametrize("name, peer, frames", [
    ("slowonly_r50_8x8", "slow_r50", 8), ("c2d_r50", "c2d_r50", 4), ("i3d_r50", "i3d_r50", 4)])
def test_single_pathways_equal_pytorchvideo_at_the_published_crop_of_the_test(name, peer, frames):
  module = getattr(hub, peer)(head_activation=None, model_num_class=7)
  module.blocks[-1].pool = torch.nn.AvgPool3d((frames // (1 if "slow" in name else 2), 7, 7), stride=1)
  peers.compare(vidx.create_model(name, num_classes=7, average="logits"), module, "pytorchvideo", some(frames, 256),
                gradient=None)


@pytest.mark.parametrize("name, train, test, depth", [
    ("x3d_s", 160, 182, 2.2), ("x3d_m", 224, 256, 2.2), ("x3d_l", 312, 356, 5.0)])
def test_x3d_equals_pytorchvideo_at_the_published_crop_of_the_test(name, train, test, depth):
  module = create_x3d(input_clip_length=2, input_crop_size=train, model_num_class=7, depth_factor=depth,
                      head_activation=None)
  peers.compare(vidx.create_model(name, num_classes=7, average="logits"), module, "pytorchvideo", some(2, test),
                gradient=None)


class Logarithm(torch.nn.Module):
  """The original, of probabilities."""

  def __init__(self, net):
    super().__init__()
    self.net = net

  def forward(self, x):
    return torch.log(self.net(x))

  def state_dict(self):
    return self.net.state_dict()


def test_probabilities_of_windows_are_averaged_as_pytorchvideo_s_x3d_does():
  module = create_x3d(input_clip_length=2, input_crop_size=SIDE, model_num_class=7, depth_factor=2.2)
  peers.compare(vidx.create_model("x3d_s", num_classes=7, crop=SIDE), Logarithm(module), "pytorchvideo",
                some(2, 2 * SIDE))


class TwoPathways(torch.nn.Module):
  """The original with the published choice of slow frames in front."""

  def __init__(self, net, alpha):
    super().__init__()
    self.net, self.alpha = net, alpha

  def forward(self, x):
    index = torch.linspace(0, x.shape[2] - 1, x.shape[2] // self.alpha).long()
    return self.net([x[:, :, index], x])

  def state_dict(self):
    return self.net.state_dict()


@pytest.mark.parametrize("name, peer", [("slowfast_r50_8x8", "slowfast_r50"), ("slowfast_r101_8x8", "slowfast_r101")])
def test_slowfast_equals_pytorchvideo(name, peer):
  net = getattr(hub, peer)(head_activation=None, model_num_class=7, head_pool_kernel_sizes=((2, 1, 1), (8, 1, 1)))
  peers.compare(vidx.create_model(name, num_classes=7), TwoPathways(net, 4), "pytorchvideo", some(8))


@pytest.mark.parametrize("name, peer", [("slowfast_r50_8x8", "slowfast_r50"), ("slowfast_r101_8x8", "slowfast_r101")])
def test_slowfast_equals_pytorchvideo_at_the_published_crop_of_the_test(name, peer):
  net = getattr(hub, peer)(head_activation=None, model_num_class=7, head_pool_kernel_sizes=((2, 7, 7), (8, 7, 7)))
  peers.compare(vidx.create_model(name, num_classes=7, average="logits"), TwoPathways(net, 4), "pytorchvideo",
                some(8, 256), gradient=None)


def test_the_slow_frames_are_those_of_a_truncated_linspace():
  for frames, alpha in [(t, a) for a in (1, 2, 4, 8) for t in a * np.array([1, 2, 3, 5, 8, 16])]:
    clip = np.arange(frames, dtype="f").reshape(1, frames, 1, 1, 1)
    expected = torch.linspace(0, frames - 1, frames // alpha).long()
    np.testing.assert_array_equal(np.ravel(slowfast.slow_clip(clip, alpha)[0]), expected)


@pytest.mark.parametrize("name, depth, frames", [("x3d_xs", 2.2, 4), ("x3d_s", 2.2, 5), ("x3d_m", 2.2, 3),
                                                 ("x3d_l", 5.0, 2)])
def test_x3d_equals_pytorchvideo(name, depth, frames):
  module = create_x3d(input_clip_length=frames, input_crop_size=SIDE, model_num_class=7, depth_factor=depth,
                      head_activation=None)
  peers.compare(vidx.create_model(name, num_classes=7), module, "pytorchvideo", some(frames))
