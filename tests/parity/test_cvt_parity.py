import numpy as np
import pytest

import vidx
from tests.parity import peers

references = pytest.importorskip("tests.parity.references")


def test_cvt_equals_its_reference():
  model = vidx.create_model("cvt_13", dims=(8, 24, 48), depths=(1, 2, 2), num_classes=7)
  module = references.CvT((8, 24, 48), (1, 2, 2), (1, 3, 6), 7)
  peers.compare(model, module, "cvt", np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("f"))
