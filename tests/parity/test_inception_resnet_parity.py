import numpy as np
import pytest

from tests.parity import peers
import vidx
from vidx import errors, interop

timm = pytest.importorskip("timm")


def original(repeats=None):
  """timm's network; with fewer blocks where told."""
  module = timm.create_model("inception_resnet_v2", pretrained=False, num_classes=1000)
  if repeats:
    for name, count in zip(("repeat", "repeat_1", "repeat_2"), repeats):
      setattr(module, name, getattr(module, name)[:count])
  return module


def test_equals_timm_with_fewer_blocks():
  x = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype("f")
  peers.compare(vidx.create_model("inception_resnet_v2", repeats=(1, 1, 2)), original((1, 1, 1)), "timm", x)


def test_all_names_of_both_releases_have_their_place():
  model = vidx.create_model("inception_resnet_v2")
  state = peers.arrays(original())
  variables, report = interop.from_torch(model, state, "timm")
  assert not report.fresh and set(report.mapped) | set(report.dropped) == set(state)
  back = interop.to_torch(model, variables, "timm")
  assert set(back) == set(state) and all(np.array_equal(back[k], state[k]) for k in state)
  keys = set(interop.to_torch(model, variables, "cadene"))
  assert keys == {k.replace("classif.", "last_linear.") for k in state}


def test_a_network_of_another_depth_is_an_error():
  model = vidx.create_model("inception_resnet_v2", repeats=(1, 1, 3))
  with pytest.raises(errors.CheckpointError, match="nothing fills"):
    interop.from_torch(model, peers.arrays(original((1, 1, 1))), "timm")
