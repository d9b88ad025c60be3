"""Every config file builds, with a model and a task that exist."""

import pathlib

import numpy as np
import pytest

from vidx import systems
from vidx.data.records import Dataset, Media, Record
from vidx.train import build, config

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").glob("*/*.py")
               if p.parent.name != "claims")


@pytest.mark.parametrize("file", FILES)
def test_a_config_builds_its_model_optimiser_and_schedule(file):
  c = config.load_file(str(ROOT / file))
  classes = c.system.get("num_classes", 8)
  several = c.task.name in ("multilabel", "segmentation")
  kind = "features" if c.task.name == "segmentation" else "video"
  named = [n for field in ("background", "ignore") for n in np.atleast_1d(c.task.get(field, ())) if isinstance(n, str)]
  names = tuple(dict.fromkeys([*named, *map(str, range(classes))]))[:classes]
  records = tuple(Record(str(i), Media(str(i), kind), (i % classes,) if several else i % classes) for i in range(1000))
  c.data.feature_size = c.data.feature_size or 64  # of one's own videos only the files say
  run = build.build(c, Dataset("none", "train", records, names, multilabel=several))
  assert run.total_steps > 0
  assert config.differences(c, config.from_json(config.to_json(c))) == []


@pytest.mark.parametrize("file, fields", [
    ("kinetics/dan.py:x3d_m", dict(trunk="x3d_m")), ("ssv1/dan.py:x3d_m", dict(consecutive=3)),
    ("kinetics/bqn.py:bqn_x3d_m", dict(name="bqn_x3d_m")), ("ssv1/bqn.py:bqn_x3d_m", dict(name="bqn_x3d_m")),
    ("ucf101/represented.py:stacked", dict(representation="stacked")),
    ("folder/represented_small.py:band_pass", dict(representation="band_pass")),
    ("kinetics/stc.py:stc_resnext101_32", dict(trunk="resnext3d_101", frames=32)),
    ("kinetics/stc.py:densenet121_16", dict(name="densenet3d_121")),
    ("ucf101/stc.py:stc_resnet101_64", dict(trunk="resnet3d_101", frames=64)),
    ("ucf101/stc.py:stc_resnet18_scratch", dict(trunk="resnet3d_18", frames=16)),
    ("hmdb51/stc.py:scb_scratch", dict(branches="scb", trunk="resnet3d_101")),
    ("hmdb51/stc.py:inception_64", dict(name="i3d")),
    ("ucf101/stc_transfer.py:inflated", dict(name="resnet3d_101", zero_init=False)),
    ("hmdb51/stc_transfer.py:match_plain", dict(student="resnet3d_101")),
    ("hmdb51/stc_transfer.py:tuned", dict(name="stc", trunk="resnet3d_101")),
    ("toybox/stc.py:match", dict(student="stc")), ("folder/stc_small.py:tuned", dict(name="stc"))])
def test_the_word_behind_a_config_chooses_a_variant_that_exists(file, fields):
  c = config.load_file(str(ROOT / "configs" / file))
  system = c.system.to_dict()
  assert system.items() >= fields.items()
  name = system.pop("name")
  classes = {"num_classes": 2} if "num_classes" in systems.field_names(name, system.get("trunk")) else {}
  systems.create_model(name, **{**classes, **system})


def test_a_config_of_frames_at_another_stride_says_so():
  for word, stride in (("stride16_scratch", 16), ("stride1_scratch", 1), ("tcb_scratch", 2), ("stc_resnet101_16", 2)):
    c = config.load_file(str(ROOT / f"configs/ucf101/stc.py:{word}"))
    assert (c.data.stride, c.data.frames, bool(c.train.init_from)) == (stride, 16, not word.endswith("scratch"))


@pytest.mark.parametrize("file", FILES)
def test_a_config_says_how_to_run_it(file):
  assert f"--config={file}" in (ROOT / file).read_text()
