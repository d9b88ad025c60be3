import json

import pytest

from vidx import errors
from vidx.bench import conv_speed
from vidx.nn import conv

LAYERS = conv_speed.LAYERS
SMALL = {
    "full": conv_speed.Layer((1, 4, 8, 8, 4), 6, (3, 3, 3)),
    "pointwise": conv_speed.Layer((1, 4, 8, 8, 4), 6, (1, 1, 1)),
    "depth-wise": conv_speed.Layer((1, 4, 8, 8, 4), 4, (3, 3, 3), (1, 2, 2), 4),
}


@pytest.fixture(autouse=True)
def small_layers(monkeypatch):
  monkeypatch.setattr(conv_speed, "LAYERS", SMALL)


@pytest.mark.parametrize("train", [False, True])
def test_every_lowering_that_applies_is_timed_and_the_choice_is_among_them(train):
  rows = {r["layer"]: r for r in conv_speed.bench_conv(train=train, seconds=0)}
  assert {name: set(r["times"]) for name, r in rows.items()} == {
      "full": {"native", "taps", "shifts", "patches", "fan_ahead", "stacked"}, "pointwise": {"native", "shifts"},
      "depth-wise": {"native", "taps", "late", "shifts"}}
  for r in rows.values():
    assert r["best"] in r["times"] and r["loss"] == r["times"][r["chosen"]] / min(r["times"].values())


def test_the_table_has_a_line_per_layer_and_the_choice_in_bold(capsys):
  conv_speed.main(pattern="wise", seconds=0)
  lines = capsys.readouterr().out.splitlines()
  assert "milliseconds, forward" in lines[0] and len(lines) == 5
  assert all(line.count("**") == 2 for line in lines[3:])


def test_json_names_machine_and_versions(capsys):
  conv_speed.main(json=True, pattern="full", seconds=0)
  out = json.loads(capsys.readouterr().out)
  assert out["device"] and out["versions"]["jax"] and out["rows"][0]["kernel"] == [3, 3, 3]


def test_a_name_without_a_layer_is_refused():
  with pytest.raises(errors.ConfigError, match="no layer is called '9x9'"):
    conv_speed.bench_conv("9x9")


def test_the_list_has_every_kind_of_layer():
  kinds = {conv.choose(platform, r.x, (*r.kernel, r.x[-1] // r.groups, r.features), r.strides, r.groups)
           for r in LAYERS.values() for platform in ("cpu", "tpu")}
  assert kinds == set(conv.LOWERINGS)
