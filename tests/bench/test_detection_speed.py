import json

import pytest

from vidx import cli, errors
from vidx.bench import detection_speed as speed

TINY = dict(num_classes=3, trunk="resnet_18", stages=(1, 1), strides=(4, 1), width=4, inner=8, features=8)
PLACES, D, M = 3 * 4, 8, 4  # of the map of 48 x 64 pixels


def test_both_detectors_and_matching_are_timed_and_counted(plain_convolutions):
  r = speed.bench_detection(2, (48, 64), 5, train=True, seconds=0, fields=TINY)
  assert r["ratio"] == pytest.approx(r["stmn"]["frames_per_s"] / r["rfcn"]["frames_per_s"])
  assert r["match"]["share"] == pytest.approx(r["match"]["seconds"] / r["stmn"]["seconds"]) and r["match"]["share"] > 0
  memory = 2 * 9 * (3 * D * M + 3 * M * M) - 9 * D * D
  block = 3 * 8  # places of a block: the rows of the map, filled up
  matching = 2 * block**2 * (D + 3 * M)
  assert 1e9 * (r["stmn"]["gmacs"] - r["rfcn"]["gmacs"]) == pytest.approx(PLACES * memory + matching)
  assert 1e9 * r["match"]["gmacs"] == pytest.approx(2 * 25 * PLACES * (D + M))
  json.dumps(r)


def test_the_command_says_what_the_memory_costs(monkeypatch, capsys):
  own = {"seconds": 0.5, "frames_per_s": 4.0, "gmacs": 60.0, "bytes": 2**20}
  made = {"frames": 2, "size": [48, 64], "boxes": 300, "train": False, "rfcn": own,
          "stmn": {**own, "seconds": 1.0, "frames_per_s": 2.0, "gmacs": 80.0}, "ratio": 0.5, "device": "cpu x 1",
          "match": {"seconds": 0.02, "gmacs": 0.064, "share": 0.02}}
  given = []
  monkeypatch.setattr(speed, "bench_detection", lambda **options: given.append(options) or made)
  assert cli.main(["bench", "detection", "--frames=2", "--height=48", "--width=64"]) == 0
  out = capsys.readouterr().out
  assert "stmn gives 0.50 of the frames/s of rfcn; 0.75 by counts" in out and "2.0 % of stmn, 0.064 GMACs" in out
  assert given == [dict(train=False, frames=2, size=(48, 64), boxes=300, seconds=10.0)]
  assert cli.main(["bench", "detection", "--json"]) == 0 and json.loads(capsys.readouterr().out) == made


@pytest.mark.parametrize("options", [dict(frames=1), dict(size=(0, 64)), dict(boxes=0)])
def test_what_cannot_be_is_one_line(options):
  with pytest.raises(errors.ConfigError) as e:
    speed.bench_detection(**options)
  assert "\n" not in str(e.value) and "or more" in str(e.value)
