import jax
import numpy as np
import pytest

from tests.parity import inception_references as references, peers
import vidx
from vidx import interop
from vidx.backbones import table
from vidx.backbones.inception import STAGES
from vidx.nn import conv

torch = peers.torch
models = pytest.importorskip("torchvision.models")

# Every kind of block of BN-Inception, at a fraction of the width.
ROWS = [("3a", 8, (8, 12), (4, 8, 12), "avg", 8), ("3b", 0, (8, 12), (4, 8, 12), "max", 0),
        ("4a", 8, (8, 12), (8, 8, 16), "avg", 8), ("4b", 8, (4, 12), (4, 8, 12), "max", 12)]
NARROW = dict(num_classes=7, pools=(), stages=tuple(
    tuple((one, left, right, (kind, out)) for name, one, left, right, kind, out in ROWS if name[0] == n) for n in "34"))


def some(*shape):
  return np.random.default_rng(0).normal(size=shape).astype("f")


def test_v1_equals_torchvision():
  peers.compare(vidx.create_model("inception_v1", num_classes=7),
                models.googlenet(num_classes=7, aux_logits=False, init_weights=False), "torchvision",
                some(1, 75, 64, 3))


def test_s3d_equals_torchvision():
  module = models.video.s3d(num_classes=7)
  module.avgpool = torch.nn.AvgPool3d((2, 2, 2), 1)  # images of 64 end at 2 x 2
  peers.compare(vidx.create_model("s3d", num_classes=7), module, "torchvision", some(1, 18, 64, 64, 3))


def test_bn_inception_equals_its_reference():
  model = vidx.create_model("bn_inception", **NARROW)
  peers.compare(model, references.BNInception(ROWS, 7), "cadene", some(2, 64, 96, 3))


def names_of(model, source):
  """All names that a model's weights have in a source."""
  rules, paths = interop.rules_of(model, source), interop.shapes_of(model)
  return {r.to_key(path) for r in rules if not r.alias for path in paths} - {None}


def test_bn_inception_has_the_names_of_its_release():
  stages = table.ROWS["bn_inception"].fields["stages"]
  rows = [(f"{i}{'abcde'[j]}", one, left, right, *pool) for i, blocks in enumerate(stages, start=3)
          for j, (one, left, right, pool) in enumerate(blocks)]
  assert names_of(vidx.create_model("bn_inception"), "cadene") == set(references.BNInception(rows, 1000).state_dict())


def test_bn_inception_reads_files_of_tsn_and_tsm():
  model = vidx.create_model("bn_inception", **NARROW)
  state = peers.arrays(peers.randomised(references.BNInception(ROWS, 7)))
  variables, _ = interop.from_torch(model, state, "cadene")
  for source, prefix, classifier in (("cadene", "", "fc"), ("tsm", "module.base_model.", "module.new_fc"),
                                     ("tsm", "base_model.", "new_fc")):
    renamed = {k.replace("last_linear", classifier) if "last" in k else prefix + k: v for k, v in state.items()}
    there, _ = interop.from_torch(model, renamed, source)
    assert all(map(np.array_equal, *map(jax.tree.leaves, (there, variables)))), source
  assert {"module.base_model.inception_4b_double_3x3_2_bn.running_var",
          "module.new_fc.weight"} <= names_of(model, "tsm")


def i3d_rows(stages):
  return {f"{i}{'bcdefg'[j]}": (one, left, right, out) for i, blocks in enumerate(stages, start=3)
          for j, (one, left, right, (_, out)) in enumerate(blocks)}


FEW = (((8, (8, 12), (4, 8), ("max", 8)),), ((8, (8, 12), (4, 8), ("max", 4)), (8, (8, 12), (4, 8), ("max", 8))),
       ((8, (8, 12), (4, 8), ("max", 8)),))
NARROW_CLIPS = dict(num_classes=7, stages=FEW, widths=(8, 8, 12), window=(2, 2, 2))


def narrow_i3d(channels=3):
  return references.I3D(i3d_rows(FEW), 7, (2, 2, 2), channels, NARROW_CLIPS["widths"])


@pytest.mark.parametrize("frames, height, width", [(14, 40, 34), (11, 43, 38)])
def test_i3d_equals_its_reference(frames, height, width):
  peers.compare(vidx.create_model("i3d", **NARROW_CLIPS), narrow_i3d(), "pytorch_i3d",
                some(1, frames, height, width, 3))


def test_i3d_of_flow_equals_its_reference():
  shape = (1, 12, 34, 34, 2)
  peers.compare(vidx.create_model("i3d", **NARROW_CLIPS), narrow_i3d(channels=2), "pytorch_i3d", some(*shape),
                inputs=[shape])


def test_i3d_has_the_names_of_its_release():
  assert names_of(vidx.create_model("i3d"), "pytorch_i3d") == set(references.I3D(i3d_rows(STAGES), 400, 1).state_dict())


def test_i3d_takes_the_weights_of_images():
  images, clips = (vidx.create_model(name, num_classes=7, stages=FEW) for name in ("inception_v1", "i3d"))
  state = interop.to_torch(images, jax.tree.map(lambda s: some(*s.shape), jax.eval_shape(
      images.init, jax.random.PRNGKey(0), some(1, 64, 64, 3))), "torchvision")
  variables, report = interop.from_torch(clips, state, "torchvision", inflate="mean")
  kernel = variables["params"]["mixed3_0"]["branch1_1"]["conv"]["kernel"]
  np.testing.assert_allclose(kernel.sum(0), np.moveaxis(state["inception3a.branch2.1.conv.weight"], (0, 1), (3, 2)),
                             rtol=1e-5, atol=1e-6)
  assert "inflated" in report.changed["conv1.conv.weight"]
