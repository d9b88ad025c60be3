import importlib.util

import pytest

from vidx import errors
from vidx.measure import targets


@pytest.mark.parametrize("target", ["", "v9", "v5e", "v5e:", "v5e:2", "h100:2x2", "v5e:axb"])
def test_what_is_no_target_is_one_line(target):
  with pytest.raises(errors.ConfigError, match="^target '") as e:
    targets.devices(target)
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("target, extra", [("v5e:2x2", "tpu"), ("h100", "gpu")])
def test_a_missing_compiler_is_named_with_what_installs_it(target, extra, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(errors.ConfigError, match=rf"pip install 'vidx\[{extra}\]'"):
    targets.devices(target)


def test_chips_are_those_of_their_makers():
  assert targets.chip("v5e:16x16").macs_per_cycle == 65_536 and targets.chip("h100").memory == 80 << 30


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu (the extra `tpu`) is not installed")
def test_topologies_have_their_chips_and_a_wrong_one_is_one_line():
  assert len(targets.devices("v5e:2x2")) == 4
  with pytest.raises(errors.ConfigError, match="cannot be described") as e:
    targets.devices("v5e:3x1000")
  assert "\n" not in str(e.value)
