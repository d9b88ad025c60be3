import numpy as np
import pytest

import vidx
from tests.parity import peers

references = pytest.importorskip("tests.parity.references")


def some(*shape):
  return np.random.default_rng(0).normal(size=shape).astype("f")


@pytest.mark.parametrize("name, peer", [
    ("deit_ti", "deit_tiny_patch16_224"), ("deit_s", "deit_small_patch16_224"), ("deit_b", "deit_base_patch16_224")])
def test_deit_equals_timm(name, peer):
  timm = pytest.importorskip("timm")
  peers.compare(vidx.create_model(name), timm.create_model(peer), "timm", some(1, 224, 224, 3))


def test_vit_equals_torchvision():
  tv = pytest.importorskip("torchvision.models")
  model = vidx.create_model("vit_b16", image=32, dim=48, depth=2, heads=4, num_classes=7)
  module = tv.VisionTransformer(32, 16, 2, 4, 48, 192, num_classes=7)
  peers.compare(model, module, "torchvision", some(2, 32, 32, 3))


FIELDS = dict(image=32, patch=8, dim=48, depth=3, heads=4, num_classes=7)


@pytest.mark.parametrize("kind, name", [("divided", "timesformer_b"), ("joint", "timesformer_joint"),
                                        ("space", "timesformer_space")])
def test_timesformer_equals_its_reference(kind, name):
  model = vidx.create_model(name, frames=0 if kind == "space" else 3, **FIELDS)
  module = references.TimeSformer(kind, 32, 8, 48, 3, 4, 3, 7)
  peers.compare(model, module, "timesformer", some(2, 3, 32, 32, 3))


def test_xvit_equals_its_reference():
  model = vidx.create_model("xvit_b16", frames=4, shift_frames=2, **FIELDS)
  _, report = peers.compare(model, references.XViT(32, 8, 48, 3, 4, 4, 2, 7), "xvit", some(2, 4, 32, 32, 3))
  assert set(report.dropped) == {"new_fc.weight", "new_fc.bias"}
