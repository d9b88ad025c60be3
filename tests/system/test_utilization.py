"""The share of the machine's peak in the log of a training run."""

import json
import types

import pytest

from vidx import cli
from vidx.measure import peak


@pytest.mark.parametrize("known", [True, False])
def test_utilization_is_logged_where_the_peak_is_known(tiny, tmp_path, capsys, monkeypatch, known):
  if known:
    monkeypatch.setitem(peak.PEAKS, "cpu", 1e12)
  one_clip = []

  def count(model, *inputs):
    one_clip.append(inputs)
    return types.SimpleNamespace(macs=1e6)

  monkeypatch.setattr(peak, "count", count)
  assert cli.main(["train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}", "--config.train.max_steps=2"]) == 0
  rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
  rows = [r for r in rows if r["split"] == "train"]
  printed = capsys.readouterr().out
  assert len(rows) == 2 and ("MFU" in printed) == known
  if known:
    assert [tuple(x.shape for x in inputs) for inputs in one_clip] == [((1, 4, 32, 32, 3),)]
    assert "mfu" not in rows[0]  # that step compiles, too
    for row in rows[1:]:
      assert row["mfu"] == pytest.approx(6e6 * row["clips_per_s"] / 1e12)
  else:
    assert not one_clip and not any("mfu" in r for r in rows)
