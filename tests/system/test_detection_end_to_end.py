"""Boxes over time: a tiny R-FCN trains, goes on exactly, and an STMN starts from it; both are evaluated and predict."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.system.conftest import losses
from vidx.data import toybox
from vidx.infer import evaluate
from vidx.show import report
from vidx.train import config, loop

FRAMES, SIZE = 6, (48, 64)
RPN = dict(features=8, sizes=(16, 28), ratios=(1,), count=8, before=24)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  out = tmp_path_factory.mktemp("tracks")
  toybox.build(str(out), labels="tracks", split=(6, 2, 0), size=SIZE, frames=FRAMES, workers=1)
  return out


def recipe(root, name, frames, runs=""):
  c = config.base()
  c.system = dict(name=name, trunk="resnet_50", stages=(1, 1, 1, 2), width=4, inner=8, features=8, frozen="",
                  proposals="rpn", rpn=dict(RPN))
  c.task = dict(name="detection", sample=8, anchor_sample=16, keep=6)
  c.data.update(root=str(root), dataset=dict(name="imagenet_vid"), frames=frames, sampler="stride", stride=1,
                short_side=48, sizes=(SIZE,), workers=0)
  c.optimizer.update(name="adamw", clip_norm=1.0)
  c.schedule.update(peak=0.003, epochs=4.0 if name == "rfcn" else 2.0)
  c.train.update(batch_size=3)
  c.eval.update(batch_size=2, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=2)
  if runs:
    c.train.init_from = (("", f"{config.RUNS}/rfcn"),)
  return c


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs")
  loop.train(recipe(root, "rfcn", 1), str(folder / "rfcn"))
  loop.train(recipe(root, "stmn", 3, runs=True), str(folder / "stmn"), runs=str(folder))
  return folder


def test_it_goes_on_exactly_where_it_stopped(runs, root, tmp_path, capsys):
  shutil.copytree(runs / "rfcn", tmp_path / "again")
  steps = sorted(int(p.name) for p in (tmp_path / "again" / "checkpoints").iterdir() if p.name.isdigit())
  shutil.rmtree(tmp_path / "again" / "checkpoints" / str(steps[-1]))
  (tmp_path / "again" / "DONE.json").unlink()
  loop.train(recipe(root, "rfcn", 1), str(tmp_path / "again"))
  assert f"resumed at step {steps[-2]}" in capsys.readouterr().out
  assert losses(tmp_path / "again") == losses(runs / "rfcn") and len(losses(runs / "rfcn")) == 8


def test_the_memory_starts_from_the_kernels_of_the_swap_layer(runs):
  [made] = json.loads((runs / "stmn" / "init.json").read_text()).values()
  assert sorted(made["made of another"]) == [f"params/swap/{way}/input/{leaf}" for way in ("backward", "forward")
                                             for leaf in ("bias", "kernel")]
  assert not made["other shape"] and not made["not used"] and "params/rpn/cls/kernel" in made["loaded"]
  assert {p.split("/")[1] for p in made["not in the checkpoint"]} == {"swap"}


@pytest.mark.parametrize("name", ["rfcn", "stmn"])
def test_clips_are_evaluated_and_the_report_shows_each_class(runs, name):
  result = evaluate.evaluate_workdir(str(runs / name))
  assert result["headline"] == "mAP" and 0 <= result["metrics"]["mAP"] <= 100 and np.isfinite(result["metrics"]["loss"])
  assert result["evaluated"] == 2 and [row["name"] for row in result["per_class"]] == list(toybox.classes_of("tracks"))
  page = pathlib.Path(report.write_report(str(runs / name))).read_text()
  assert "mAP" in page and "circle" in page
