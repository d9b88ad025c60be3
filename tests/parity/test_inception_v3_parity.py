import numpy as np
import pytest

from tests.parity import peers
import vidx
from vidx import interop

torch = peers.torch
inception = pytest.importorskip("torchvision.models.inception")


def original(**fields):
  return inception.inception_v3(weights=None, transform_input=False, init_weights=False, **fields)


def some(*shape):
  return np.random.default_rng(0).normal(size=shape).astype("f")


def test_equals_torchvision():
  peers.compare(vidx.create_model("inception_v3", num_classes=7, form="torchvision"),
                original(num_classes=7, aux_logits=False), "torchvision", some(1, 75, 79, 3))


def fid_form(module):
  """What pytorch-fid changes: means of what lies inside alone, and maxima in the last block."""
  plain = torch.nn.functional.avg_pool2d
  inside = lambda x, kernel_size, stride=None, padding=0: plain(x, kernel_size, stride, padding,
                                                                count_include_pad=False)
  largest = torch.nn.functional.max_pool2d

  def pools(block, pool):
    forward = block._forward

    def changed(x):
      kept, inception.F.avg_pool2d = inception.F.avg_pool2d, pool
      try:
        return forward(x)
      finally:
        inception.F.avg_pool2d = kept

    block._forward = changed

  for name, block in module.named_children():
    if name in ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b"):
      pools(block, inside)
  pools(module.Mixed_7c, largest)
  return module


def test_form_of_the_frechet_distance_equals_its_reference():
  peers.compare(vidx.create_model("inception_v3", num_classes=7), fid_form(original(num_classes=7, aux_logits=False)),
                "pytorch_fid", some(1, 75, 79, 3))


def test_the_auxiliary_classifier_is_dropped():
  state = peers.arrays(original(num_classes=1000, aux_logits=True))
  _, report = interop.from_torch(vidx.create_model("inception_v3", num_classes=1000), state, "torchvision")
  assert report.dropped["AuxLogits.fc.weight"] == "auxiliary classifier" and not report.fresh
