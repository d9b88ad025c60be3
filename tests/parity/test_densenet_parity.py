import jax
import numpy as np
import pytest

from tests.parity import peers
import vidx
from vidx import interop
from vidx.nn import conv

torch = peers.torch
nn, F = torch.nn, torch.nn.functional


class DenseNet(nn.Module):
  """A densely connected network on clips with the names of the public weights, written for reading."""

  def __init__(self, layers, growth, width, stem_frames, stem_stride, classes):
    super().__init__()
    self.layers, f = layers, nn.Module()
    f.conv0 = nn.Conv3d(3, width, (stem_frames, 7, 7), (stem_stride, 2, 2), (stem_frames // 2, 3, 3), bias=False)
    f.norm0 = nn.BatchNorm3d(width)
    for i, count in enumerate(layers, start=1):
      block = nn.Module()
      for j in range(1, count + 1):
        layer = nn.Module()
        layer.norm1, layer.conv1 = nn.BatchNorm3d(width), nn.Conv3d(width, 4 * growth, 1, bias=False)
        layer.norm2 = nn.BatchNorm3d(4 * growth)
        layer.conv2 = nn.Conv3d(4 * growth, growth, 3, padding=1, bias=False)
        setattr(block, f"denselayer{j}", layer)
        width += growth
      setattr(f, f"denseblock{i}", block)
      if i < len(layers):
        transition = nn.Module()
        transition.norm, transition.conv = nn.BatchNorm3d(width), nn.Conv3d(width, width // 2, 1, bias=False)
        setattr(f, f"transition{i}", transition)
        width //= 2
    setattr(f, f"norm{len(layers) + 1}", nn.BatchNorm3d(width))
    self.features, self.classifier = f, nn.Linear(width, classes)

  def forward(self, x):
    f = self.features
    x = F.max_pool3d(F.relu(f.norm0(f.conv0(x))), 3, 2, 1)
    for i in range(1, len(self.layers) + 1):
      for layer in getattr(f, f"denseblock{i}").children():
        y = layer.conv2(F.relu(layer.norm2(layer.conv1(F.relu(layer.norm1(x))))))
        x = torch.cat([x, y], 1)
      if i < len(self.layers):
        t = getattr(f, f"transition{i}")
        x = t.conv(F.relu(t.norm(x)))
        x = F.avg_pool3d(x, 2) if x.shape[2] > 1 else F.avg_pool3d(x, (1, 2, 2))
    x = F.relu(getattr(f, f"norm{len(self.layers) + 1}")(x))
    return self.classifier(x.mean((2, 3, 4)))


@pytest.mark.parametrize("name, fields, frames", [
    ("densenet3d_121", dict(layers=(2, 3, 2, 2), stem_frames=7, stem_stride=1), 8),
    ("densenet3d_121", dict(layers=(2, 3, 2, 2)), 8),
    ("densenet3d_161", dict(layers=(1, 2)), 5),
], ids=["hara", "121", "161"])
def test_equals_its_reference(name, fields, frames):
  model = vidx.create_model(name, num_classes=7, **fields)
  module = DenseNet(model.layers, model.growth, model.width, model.stem_frames, model.stem_stride, 7)
  x = np.random.default_rng(0).normal(size=(1, frames, 32, 34, 3)).astype("f")
  peers.compare(model, module, "kenshohara", x)


def test_early_files_name_the_parts_of_a_layer_with_a_dot_and_the_module_they_were_trained_in():
  model = vidx.create_model("densenet3d_121", num_classes=3, stem_frames=7, stem_stride=1)
  shapes = interop.shapes_of(model)
  variables = jax.tree.map(lambda s: np.ones(s.shape, s.dtype), jax.eval_shape(
      model.init, jax.random.PRNGKey(0), np.zeros((1, 16, 64, 64, 3), "f")))
  state = interop.to_torch(model, variables, "kenshohara")
  assert len(state) == len(shapes) + sum(key.endswith("num_batches_tracked") for key in state)
  assert {"features.conv0.weight", "features.norm0.running_var", "features.denseblock1.denselayer1.norm1.weight",
          "features.denseblock4.denselayer16.conv2.weight", "features.transition3.conv.weight",
          "features.norm5.bias", "classifier.weight"} <= set(state)
  early = {}
  for key, value in state.items():
    for part in ("norm", "conv"):
      key = key.replace(f".{part}1.", f".{part}.1.").replace(f".{part}2.", f".{part}.2.")
    early[key] = value
  assert "features.denseblock1.denselayer1.norm.1.weight" in early
  for names in (early, {f"module.{k}": v for k, v in early.items()}, {f"module.{k}": v for k, v in state.items()}):
    again, report = interop.from_torch(model, names, "kenshohara")
    assert set(report.mapped) | set(report.dropped) == set(names)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
