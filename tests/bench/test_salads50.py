"""The table of 50Salads without its trainings: what is made of their results."""

import json

import numpy as np
import pytest
import scipy.io

from vidx import errors
from vidx.bench import claims as claims_lib
from vidx.train import config as config_lib


def write_scores(root, folds):
  """Score files of two videos a fold."""
  rng = np.random.default_rng(0)
  for fold in range(1, folds + 1):
    cells = {k: np.empty((1, 2), object) for k in "SY"}
    for i in range(2):
      truth = np.repeat(rng.integers(0, 3, 4), 5)
      cells["Y"][0, i], cells["S"][0, i] = truth[None], np.eye(3)[truth]
    scipy.io.savemat(root / f"{fold}.mat", cells)


@pytest.fixture
def table(tmp_path, monkeypatch):
  """The file's module, with released scores that are the truth."""
  monkeypatch.setenv("VIDX_RUNS", str(tmp_path / "runs"))
  monkeypatch.setenv("VIDX_REAL_DATA", str(tmp_path))
  module = claims_lib.module("salads50")
  (tmp_path / module.RELEASED).mkdir(parents=True)
  write_scores(tmp_path / module.RELEASED, 5)
  monkeypatch.setattr(module.jax.config, "update", lambda *args: None)
  return module


def finished(table, root, key, better=0.0):
  """Results of every fold of a method, as a training leaves them: 60 or more, plus fold and seed."""
  for fold in table.FOLDS:
    folder = root / "runs/salads50" / key / f"fold{fold}"
    folder.mkdir(parents=True)
    seeds = [{m: 60 + better + fold + seed for m in table.MEASURES} for seed in range(table.SEEDS)]
    config = config_lib.to_json(table.config_of(key, fold))
    (folder / "seeds.json").write_text(json.dumps({"seeds": seeds, "seconds": 60.0, "config": config}))


def test_a_row_has_means_over_folds_and_the_deviation_over_seeds(table, tmp_path, capsys):
  finished(table, tmp_path, "ms_tcn")
  assert table.of("ms_tcn", 1)["edit"] == 64
  lines = capsys.readouterr().out.splitlines()
  assert lines[2] == "|  | scores alone | 100.0 | 100.0 | 100.0 | 100.0 | 100.0 |  |"
  cells = " | ".join(["64.0 ± 0.8"] * 5)
  assert lines[3] == f"| frames | MS-TCN | {cells} | 5 |" and len(lines) == 4
  table.of("ms_tcn", 2)
  assert capsys.readouterr().out == ""  # once


def test_results_of_another_config_are_not_taken(table, tmp_path, monkeypatch):
  finished(table, tmp_path, "ms_tcn")
  monkeypatch.setattr(table, "SEEDS", 2)
  trained = []
  monkeypatch.setattr(table.loop, "train", lambda config, workdir: trained.append((config.train.seeds, workdir)))
  monkeypatch.setattr(table.evaluate, "evaluate_workdir", lambda workdir, step: {"seeds": [{"edit": 1.0}] * 2})
  assert table.fold_seeds("ms_tcn", 1)[0] == table.fold_seeds("ms_tcn", 1)[0] == [{"edit": 1.0}] * 2
  assert [seeds for seeds, _ in trained] == [2]
  assert table.fold_seeds("ms_tcn", 1)[1] >= 60  # a finished run is only read again: what it took stays known


def test_claims_hold_a_method_against_the_better_baseline_and_a_wanted_row(table, tmp_path):
  for key, better in dict(ms_tcn=5, mucon=3, even_transcript=1, dp_transcript=2).items():
    finished(table, tmp_path, key, better)
  claims = {c.name: c for c in table.get_claims()}
  found = claims["transcripts"].run(0)
  assert (found["method"], found["baseline"], found["even_transcript"]) == (66, 65, 64)
  assert claims["ms_tcn"].run(0)["method"] == 68 - 65 and claims["ms_tcn"].run(0)["f1@50"] == 68


def test_more_seeds_than_are_trained_and_a_missing_folder_are_errors(table, tmp_path, monkeypatch):
  with pytest.raises(errors.ConfigError, match="3 seeds are trained together"):
    table.of("ms_tcn", 3)
  table.scores.cache_clear()
  monkeypatch.setenv("VIDX_REAL_DATA", str(tmp_path / "none"))
  with pytest.raises(errors.DataError, match="set VIDX_REAL_DATA"):
    table.scores()


def test_every_method_has_its_config(table):
  for key, (labels, _, _) in table.METHODS.items():
    c = table.config_of(key, fold=2)
    assert c.data.dataset.fold == 2 and c.train.seeds == 3
    assert c.data.full_share == (labels == "frames") and c.task.average == "video"
    if labels == "sets" and c.system.name != "sct":
      assert c.system.supervision == "set"
