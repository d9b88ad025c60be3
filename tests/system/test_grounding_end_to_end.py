"""Phrase grounding on stills of Toybox: both stages, from sentences and images to masks over new ones."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.system.conftest import losses
from vidx import cli, errors
from vidx.data import phrase_codes, toybox
from vidx.infer import evaluate
from vidx.show import report
from vidx.train import config, loop

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  root = tmp_path_factory.mktemp("stills")
  toybox.build(str(root), labels="sentences", layout="coco", split=(16, 6, 0), size=(32, 48), workers=1)
  return root


def tiny(world, word="ours"):
  c = config.load_file(str(ROOT / f"configs/toybox/grounding.py:{word}"))
  c.data.root = str(world)
  c.system.update(width=8, **({"hidden": 8} if word == "language" else dict(dim=8, hidden=8, widths=((4,), (6,)))))
  c.schedule.update(epochs=1.0 if word == "language" else 4.0)
  if word != "language":
    c.data.update(crop=32, whole=(32, 32))
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=4, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=4)
  return c


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
  at = tmp_path_factory.mktemp("runs")
  loop.train(tiny(world, "language"), str(at / "toybox_language"))
  loop.train(tiny(world), str(at / "grounding"), runs=str(at))
  return at


def test_both_stages_train_and_codes_are_kept_once(world, runs, capsys, tmp_path):
  assert len(losses(runs / "toybox_language")) == 6 and len(losses(runs / "grounding")) == 8
  codes = phrase_codes.Codes(str(runs / "toybox_language" / "phrases"))
  assert codes.width == 8 and not codes.lacking(["circle", "a circle", "square"])
  written = (runs / "toybox_language" / "phrases" / "codes.npy").stat().st_mtime_ns
  loop.train(config.override(tiny(world, "disc_only"), ["train.max_steps=1"]), str(tmp_path / "disc"), runs=str(runs))
  assert "codes of" not in capsys.readouterr().out
  assert (runs / "toybox_language" / "phrases" / "codes.npy").stat().st_mtime_ns == written


def test_kept_codes_and_words_that_are_read_each_time_learn_alike(world, runs, tmp_path):
  c = config.override(tiny(world), ["data.phrases.codes=", "train.max_steps=3"])
  loop.train(c, str(tmp_path / "read"), runs=str(runs))
  kept = losses(runs / "grounding")
  for step, value in losses(tmp_path / "read").items():
    assert value == pytest.approx(kept[step], abs=2e-5)


@pytest.mark.parametrize("stage", ["toybox_language", "grounding"])
def test_a_stage_resumes_exactly(world, runs, tmp_path, capsys, stage):
  again = tmp_path / "again"
  shutil.copytree(runs / stage, again)
  done = max(losses(runs / stage))
  shutil.rmtree(again / "checkpoints" / str(done))
  (again / "DONE.json").unlink()
  loop.train(tiny(world, "language" if stage == "toybox_language" else "ours"), str(again), runs=str(runs))
  assert "resumed at step 4" in capsys.readouterr().out and losses(again) == losses(runs / stage)


def test_they_evaluate_and_report(world, runs):
  words = evaluate.evaluate_workdir(str(runs / "toybox_language"))
  assert words["headline"] == "next word" and words["metrics"]["perplexity"] > 1
  assert words["protocol"]["views"] == "whole"
  found = evaluate.evaluate_workdir(str(runs / "grounding"))
  assert {"pointing", "pointing/random", "mAP", "mAP@0.3", "mAP@0.4", "mAP@0.5"} <= set(found["metrics"])
  assert found["samples"][0]["phrases"][0]["point"] and "mAP/present" not in found["metrics"]
  every = evaluate.evaluate_workdir(str(runs / "grounding"), overrides=["data.dataset.asked=all"])
  assert every["metrics"]["mAP/present"] == pytest.approx(found["metrics"]["mAP"], abs=1e-3)
  assert every["metrics"]["mAP"] <= found["metrics"]["mAP"] + 1e-6
  assert every["metrics"]["pointing"] == found["metrics"]["pointing"]
  boxes = evaluate.evaluate_workdir(str(runs / "grounding"), overrides=["data.dataset.name=visual_genome"])
  assert "mAP" not in boxes["metrics"] and boxes["metrics"]["pointing"] >= 0
  for stage in ("toybox_language", "grounding"):
    page = pathlib.Path(report.write_report(str(runs / stage))).read_text()
    assert ("pointing" if stage == "grounding" else "perplexity") in page


def test_recipes_that_cannot_be_are_one_line(world, runs, tmp_path):
  for key, value, message in (("optimizer.frozen", "()", "add '\\^language/' to optimizer.frozen"),
                              ("optimizer.accumulate", "2", "cannot be cut into micro-batches"),
                              ("system.vocab", "5", "system.vocab is 5"),
                              ("data.phrases.take", "nouns", "tree, leaves"),
                              ("data.text.vocab", "none.txt", "there is no vocabulary at"),
                              ("task.threshold", "half", "middle, printed"),
                              ("task.pc", "-1.0", "below 0")):
    with pytest.raises(errors.UserError, match=message):
      loop.train(config.override(tiny(world), [f"{key}={value}"]), str(tmp_path / key), runs=str(runs))
  with pytest.raises(errors.ConfigError, match="add --runs=FOLDER"):
    loop.train(tiny(world), str(tmp_path / "alone"))
