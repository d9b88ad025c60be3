import numpy as np
import pytest

import vidx
from tests.parity import peers

references = pytest.importorskip("tests.parity.references")


@pytest.mark.parametrize("widths", [(32, 48), (48, 48)])
def test_psvit_equals_its_reference(widths):
  model = vidx.create_model("psvit_b14", image=64, points=5, dim=48, depth=5, samplings=3, heads=4, widths=widths,
                            num_classes=7)
  module = references.PSViT(64, 5, 48, 3, 5, 4, widths, 7)
  x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("f")
  _, report = peers.compare(model, module, "psvit", x)
  assert report.dropped["point_coord"] == "the start grid is computed"
