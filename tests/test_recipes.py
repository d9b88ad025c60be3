"""What recipes take from their theses, and what the commands in their first lines give."""

import pathlib
import re
import runpy

import pytest

from vidx import errors, systems
from vidx.data import clips
from vidx.data.records import Dataset, Media, Record
from vidx.train import build, config

ROOT = pathlib.Path(__file__).resolve().parents[1] / "configs"
ATTENTION = [f"{d}/{s}.py" for d in ("kinetics", "ssv1") for s in ("rnl", "cpa", "nonlocal")]
DAN = [f"{d}/dan.py" for d in ("kinetics", "ssv1", "ucf101", "hmdb51")]
ATFR = [f"{d}/atfr.py" for d in ("kinetics", "minikinetics", "ucf101", "hmdb51")]
BQN = ["kinetics/bqn.py", "kinetics/bqn.py:bqn_x3d_m", "ssv1/bqn.py", "ssv1/bqn.py:bqn_x3d_m", "ucf101/bqn.py",
       "hmdb51/bqn.py"]
REPRESENTED = [f"ucf101/represented.py:{word}"
               for word in runpy.run_path(str(ROOT / "ucf101/represented.py"))["VARIANTS"]]


def loaded(case):
  return config.load_file(str(ROOT / case))


@pytest.mark.parametrize("file", [*ATTENTION, *DAN, *ATFR])
def test_three_crops_of_256_are_tested_where_crops_of_224_are_trained_on(file):
  command = next(line for line in (ROOT / file).read_text().splitlines() if line.startswith("vidx eval"))
  assert "x3" in command
  data = config.override(loaded(file), re.findall(r"--config\.(\S+)", command)).data
  assert data.crop == 224 and clips.eval_clip_shape(data)[1:3] == (256, 256)


@pytest.mark.parametrize("case", [*BQN, *REPRESENTED])
def test_recipes_have_plain_momentum_and_a_quick_classifier_and_nothing_of_the_public_code(case):
  optimizer = loaded(case).optimizer
  assert (optimizer.momentum, optimizer.nesterov, optimizer.clip_norm) == (0.9, False, 0.0)
  assert optimizer.groups == ((r"head/fc/kernel$", 5.0, 5.0), (r"head/fc/bias$", 5.0, 0.0))


@pytest.mark.parametrize("file", [*DAN, "ucf101/represented.py:appearance"])
def test_convolutions_and_the_classifier_decay_and_the_perceptron_of_a_basis_does_not(file):
  kept = re.compile(loaded(file).optimizer.no_decay)
  assert kept.search("projection/basis/first/kernel") and kept.search("trunk/stem/conv/norm/scale")
  assert not kept.search("projection/local/conv/kernel") and not kept.search("trunk/stem/conv/conv/kernel")


def test_the_smallest_x3d_has_its_own_crops_and_segments():
  c = loaded("ssv1/dan.py:x3d_xs")
  assert (c.data.crop, c.data.jitter, c.data.frames, c.data.consecutive, c.system.consecutive) == (
      160, (182, 228), 4, 8, 8)
  assert c.optimizer.weight_decay == 4e-4 and c.data.mean == (0.45, 0.45, 0.45)
  assert clips.eval_clip_shape(c.data)[1:3] == (160, 160)


@pytest.mark.parametrize("word", ["rgb_difference", "dynamic_image", "squeezed", "appearance"])
def test_representations_are_compared_on_six_frames_of_each_of_eight_segments(word):
  data = loaded(f"ucf101/represented.py:{word}").data
  assert (data.frames, data.consecutive) == (8, 6)


def test_lengths_learnt_with_few_points_have_their_ramps_about_the_borders():
  few = re.compile(r"\bpoints=\d\d?\b")
  files = [p for p in ROOT.glob("*/*.py") if p.parent.name != "claims" and few.search(p.read_text())]
  assert files
  for file in files:
    assert 'corner="centre"' in file.read_text() or 'masks="integral"' in file.read_text(), file


def test_transcripts_of_hollywood_are_decoded_unless_alignment_is_asked_for():
  system = loaded("hollywood/mucon.py").system.to_dict()
  assert not systems.create_model(**system).align


def test_the_released_mucon_has_a_recipe():
  c = loaded("breakfast/mucon.py:public")
  assert systems.create_model(**c.system.to_dict()).consistency == "mean"
  assert (c.schedule.peak, c.schedule.milestones, c.optimizer.weight_decay) == (0.01, (70.0,), 0.005)


def test_samplers_of_tokens_say_how_they_invert():
  rules = {name: row.fields["rule"] for name, row in systems.rows().items() if row.factory == "vidx.systems.ats:ats"}
  assert {name for name, rule in rules.items() if rule == "nearest"} == {"ats_public"}
  assert set(rules.values()) == {"inverse", "nearest"}


def test_labelled_videos_are_drawn_for_each_seed_and_so_not_for_several_at_once():
  c = config.override(loaded("breakfast/mucon.py"), ["train.seeds=5", "data.full_share=0.1"])
  record = Record("0", Media("0", "features"), (0,), extra=dict(frames=9, transcript=(0,)))
  with pytest.raises(errors.ConfigError, match="one --config.seed at a time"):
    build.build(c, Dataset("none", "train", (record,), ("SIL",), multilabel=True))
