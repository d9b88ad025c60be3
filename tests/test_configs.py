"""Every config file builds, with a model and a task that exist."""

import pathlib

import numpy as np
import pytest

from vidx import systems
from vidx.data.records import Dataset, Media, Record
from vidx.train import config, loop

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
  run = loop.build(c, Dataset("none", "train", records, names, multilabel=several))
  assert run.total_steps > 0
  assert config.differences(c, config.from_json(config.to_json(c))) == []


@pytest.mark.parametrize("file, fields", [
    ("kinetics/dan.py:x3d_m", dict(trunk="x3d_m")), ("ssv1/dan.py:x3d_m", dict(consecutive=3)),
    ("kinetics/bqn.py:bqn_x3d_m", dict(name="bqn_x3d_m")), ("ssv1/bqn.py:bqn_x3d_m", dict(name="bqn_x3d_m")),
    ("ucf101/represented.py:stacked", dict(representation="stacked")),
    ("folder/represented_small.py:band_pass", dict(representation="band_pass"))])
def test_the_word_behind_a_config_chooses_a_variant_that_exists(file, fields):
  c = config.load_file(str(ROOT / "configs" / file))
  system = c.system.to_dict()
  assert system.items() >= fields.items()
  systems.create_model(system.pop("name"), **{"num_classes": 2, **system})


@pytest.mark.parametrize("file", FILES)
def test_a_config_says_how_to_run_it(file):
  assert f"--config={file}" in (ROOT / file).read_text()
