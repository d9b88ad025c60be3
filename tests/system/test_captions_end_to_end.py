"""Sentences on Toybox `sentences`: three stages, evaluation, prediction and report."""

import json
import pathlib

import numpy as np
import pytest

from tests.system.conftest import ROOT, goes_on_exactly
from vidx import cli, errors
from vidx.data import toybox
from vidx.infer import evaluate, load
from vidx.show import report
from vidx.train import config, dry_run, loop


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  root = tmp_path_factory.mktemp("sentences")
  toybox.build(str(root), labels="sentences", split=(16, 6, 0), size=(32, 32), frames=4, workers=1)
  return root


def tiny(world, stage, epochs=2.0):
  c = config.load_file(str(ROOT / f"configs/toybox/captioner.py:{stage}"))
  c.data.root = str(world)
  c.system.update(hidden=8, embedding=6, attention=8)
  c.schedule.update(epochs=epochs, warmup_epochs=0.0)
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=3, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=2)
  return c


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
  """The folder of all stages."""
  at = tmp_path_factory.mktemp("runs")
  for stage, name in (("pos", "captioner_pos"), ("likelihood", "captioner"), ("self_critical", "captioner_critical")):
    loop.train(tiny(world, stage), str(at / name), runs=str(at))
  return at


def test_each_stage_starts_from_those_before_it(runs):
  report_of = lambda name: next(iter(json.loads((runs / name / "init.json").read_text()).values()))
  first, second = report_of("captioner"), report_of("captioner_critical")
  assert first["loaded"] and all("/pos/" in p for p in first["loaded"]) and not first["not in the checkpoint"]
  assert not second["not in the checkpoint"] and not second["other shape"]
  words = (runs / "captioner" / "vocab.txt").read_text()
  assert words == (runs / "captioner_critical" / "vocab.txt").read_text() and "\na\n" in words
  figures = json.loads((runs / "captioner_critical" / "metrics.jsonl").read_text().splitlines()[0])
  assert {"reward", "likeliest", "critical"} <= set(figures)


def test_a_dry_run_takes_the_words_from_the_captions(world, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert np.isfinite(dry_run.dry_run(tiny(world, "alone"))["loss"]) and not list(tmp_path.iterdir())


def test_it_resumes_exactly(world, runs, capsys):
  goes_on_exactly(tiny(world, "likelihood"), runs / "captioner", capsys, at=2, steps=4, runs=runs)


def test_it_evaluates_and_reports(runs):
  result = evaluate.evaluate_workdir(str(runs / "captioner_critical"))
  assert result["evaluated"] == 6 and result["headline"] == "BLEU-4"
  assert {"BLEU-1", "BLEU-4", "loss"} <= set(result["metrics"])
  assert {"caption", "captions"} <= set(result["samples"][0])
  page = pathlib.Path(report.write_report(str(runs / "captioner_critical"))).read_text()
  assert "BLEU-4" in page and result["samples"][0]["captions"][0] in page
  tags = evaluate.evaluate_workdir(str(runs / "captioner_pos"))
  assert 0 <= tags["metrics"]["accuracy"] <= 100


def test_it_writes_sentences_of_new_videos(world, runs, tmp_path, capsys):
  out, folder = tmp_path / "said.json", str(world / "videos")
  assert cli.main(["predict", f"--workdir={runs / 'captioner'}", f"--out={out}", "--json", folder]) == 0
  said = json.loads(capsys.readouterr().out)
  assert said == json.loads(out.read_text()) and len(said) == 22
  assert all(len(e["gates"]) == len(e["caption"].split()) and e["error"] is None for e in said)
  rows = (tmp_path / "said.csv").read_text().splitlines()
  assert rows[0] == "path,caption" and len(rows) == 23
  one = said[0]["path"]
  assert cli.main(["predict", f"--workdir={runs / 'captioner'}", "--show=words", f"--out={tmp_path}", one]) == 0
  page = (tmp_path / "index.html").read_text()
  assert "data:video/mp4" in page and said[0]["caption"].split()[0] in page
  assert cli.main(["predict", f"--workdir={runs / 'captioner'}", "--show=gradcam", one]) == 2


def test_the_width_of_the_beam_is_free_after_training(runs):
  wide = load.load_checkpoint(str(runs / "captioner"), overrides=["system.beam=5"])
  assert wide.model.beam == 5


def test_what_cannot_be_is_one_line(world, tmp_path):
  for key, value, message in (("system.vocab", "9", "system.vocab is 9"), ("system.start", "5", "system.start is 5"),
                              ("system.beam", "0", "beam=0"), ("data.text.tags", "none.txt", "none.txt"),
                              ("system.streams", "('a', 'b', 'c')", "one or two")):
    c = config.override(tiny(world, "pos" if "tags" in key else "alone"), [f"{key}={value}"])
    with pytest.raises(errors.UserError, match=message):
      loop.train(c, str(tmp_path / key))
