import json

import numpy as np
import pytest

from vidx import cli, errors
from vidx.bench import segmentation_speed as speed

RUNS = [[("a", 20), ("b", 30)], [("b", 40), ("a", 50), ("c", 30)], [("c", 9)]]
TINY = {"ms_tcn": dict(stages=1, layers=2, width=8), "mucon": dict(backbone=(1, 2), pools=(0,), width=8, groups=2,
                                                                   hidden=4, max_segments=4)}


def test_segments_are_read_from_lines_of_label_and_frames(tmp_path):
  path = tmp_path / "runs.csv"
  path.write_text("video,frames,segments,hash\nP1,50,a:20 b:30,ab12:x\n\nP2,9,c:9,\n")
  assert speed.read_runs(str(path)) == [RUNS[0], RUNS[2]]
  path.write_text("video\n")
  with pytest.raises(errors.DataError, match="holds no segments"):
    speed.read_runs(str(path))
  with pytest.raises(errors.DataError, match="cannot be read"):
    speed.read_runs(str(tmp_path / "none"))


def test_the_segments_of_breakfast_are_read(real_data):
  runs = speed.read_runs(str(real_data("breakfast_labels/groundtruth_rle.csv")))
  assert len(runs) == 1460 and sum(n for video in runs for _, n in video) == 3_085_477
  assert max(map(len, runs)) == 25


def test_drawn_segments_are_about_as_many_and_as_long_as_those_of_breakfast():
  runs = speed.drawn_runs()
  assert 6 < np.mean([len(video) for video in runs]) < 7.6
  assert 140 < np.median([n for video in runs for _, n in video]) < 200


def test_an_example_is_padded_to_its_bucket_and_its_classes_are_apart():
  batch = speed.example(RUNS[0], {"a": 0, "b": 1, "c": 2}, size=32, steps=8)
  assert batch["features"].shape == (1, 64, 32) and batch["length"][0] == 50
  assert batch["transcript"].tolist() == [[0, 1] + [-1] * 6] and batch["label"].tolist() == [[1, 1, 0]]
  assert (batch["frame_label"][0] == np.repeat([0, 1, -1], [20, 30, 14])).all()
  a, b = batch["features"][0, :20].mean(0), batch["features"][0, 20:50].mean(0)
  assert np.abs(a - b).mean() > 0.5 and not batch["features"][0, 50:].any()


@pytest.mark.parametrize("name", TINY)
def test_a_row_per_length_has_times_and_memory(name):
  rows = speed.bench_system(name, RUNS, shares=(1.0,), size=4, seconds=0, fields=TINY[name])
  assert [(r["frames"], r["padded"], r["segments"]) for r in rows] == [(120, 160, 3)]
  assert all(r[key] > 0 for r in rows for key in ("train_seconds", "decode_seconds", "train_bytes", "decode_bytes"))
  assert speed.table(rows).count("\n") == 2


def test_the_command_prints_a_table_and_the_dp(tmp_path, monkeypatch, capsys):
  small = speed.bench_system("ms_tcn", RUNS, shares=(0.0,), size=4, seconds=0, fields=TINY["ms_tcn"])
  monkeypatch.setattr(speed, "bench_system", lambda *args, **options: small)
  monkeypatch.setattr(speed.bench_dp, "__defaults__", (60, 3, 40, 0.0))
  (tmp_path / "runs.txt").write_text("a:20 b:30\n")
  assert cli.main(["bench", "segmentation", "ms_tcn", f"--runs={tmp_path}/runs.txt", "--seconds=0"]) == 0
  out = capsys.readouterr().out
  assert "one video of 1 at a time" in out and "| ms_tcn | 9 (of 32) | 1 |" in out and "60 frames, 3 segments" in out
  speed.main(["ms_tcn"], runs=f"{tmp_path}/runs.txt", json=True, seconds=0)
  found = json.loads(capsys.readouterr().out)
  assert found["rows"] == small and found["dp"]["exact_seconds"] > 0


def test_a_system_of_clips_is_refused():
  with pytest.raises(errors.ConfigError, match="tsm takes no features of long videos"):
    speed.bench_system("tsm", RUNS)
