"""What the README shows in Python runs, and its lists are those of the program."""

import inspect
import re

from absl import flags
import jax
import numpy as np
import pytest

from tests.backbones import promises
from tests.system.conftest import ROOT
import vidx as library
from vidx.command import preparing
from vidx.data import build, check, crops, detection_files, toybox, vocabulary
from vidx.infer import save, triplets
from vidx.interop import pretrained

README = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = dict(width=4, stages=(1, 1))
OPTIONS = {"check": (check.check, check.main), "build": (build.build,), "detections": (detection_files.convert,),
           "crops": (crops.convert,), "vocabulary": (vocabulary.build,), "triplets": (triplets.build,),
           "toybox": (toybox.build,)}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
  """What a reader has and the README names: `batches`, and weights in place of those to download."""
  folder = tmp_path_factory.mktemp("weights") / "r3d_18"
  model = library.create_model("r3d_18", num_classes=5, **SMALL)
  variables = jax.device_get(promises.some_variables(model, np.zeros((1, 4, 16, 16, 3), "f")))
  save.save_model(str(folder), "r3d_18", dict(SMALL, num_classes=5), variables, dict(crop=16, frames=4))
  clips = np.random.default_rng(0).integers(0, 256, (2, 2, 4, 16, 16, 3), "uint8")
  return dict(batches=[(clip, np.array([1, 6])) for clip in clips]), folder


def test_its_python_runs(names, tiny, toy, tmp_path, monkeypatch):
  given, folder = names
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(pretrained, "folder_of", lambda name: str(folder))
  smaller = {'"folder/tsm_small"': repr(tiny), '"data.root=/path/to/videos"': '"train.max_steps=1"',
             '"clip.mp4"': repr(str(next(toy.rglob("*.mp4")))), "clips=10": "clips=1",
             '"r3d_18", pretrained': '"r3d_18", **SMALL, pretrained'}
  blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  assert len(blocks) == 3
  seen = {**given, "SMALL": SMALL, "vidx": library}
  for block in blocks:
    for a, b in smaller.items():
      block = block.replace(a, b)
    exec(block, seen)
    if "batches" in block:
      assert np.isfinite(seen["value"]) and seen["out"]["logits"].shape == (2, 8)
      assert set(seen["variables"]) == {"params", "batch_stats"}
  assert not [a for a in smaller if a not in README]


def test_its_options_are_those_of_the_verbs():
  listed = dict(re.findall(r"^\| `(\w+)` \| `(\w+=.*)` \|$", README, re.MULTILINE))
  assert set(listed) == set(OPTIONS)
  for verb, functions in OPTIONS.items():
    fv = flags.FlagValues()
    preparing.VERBS[f"data {verb}"].define(fv)
    own = {p.name: p.default for f in functions for p in inspect.signature(f).parameters.values()
           if p.default is not p.empty and p.name not in fv}
    as_text = lambda x: ",".join(map(str, x)) if isinstance(x, tuple) else str(x)
    assert listed[verb].split() == [f"{name}={as_text(default)}" for name, default in own.items()], verb
