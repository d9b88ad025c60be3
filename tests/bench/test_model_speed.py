import json

import pytest

from vidx import errors
from vidx.bench import model_speed, peers
from vidx.measure import clock
import vidx

KEYS = {"name", "device", "seconds", "peer_seconds", "ratio", "clips_per_s", "peak_bytes", "peer_peak_bytes", "gmacs",
        "share_of_peak", "peak_flops", "train", "batch", "input", "beside", "dtype", "peer", "versions"}


def check(row, batch, passes):
  assert set(row) == KEYS
  assert (row["name"], row["batch"], list(row["input"])) == ("resnet_18", batch, [batch, 32, 32, 3])
  assert row["ratio"] is None and row["peer_seconds"] is None
  assert row["clips_per_s"] == pytest.approx(batch / row["seconds"])
  flops = 2 * row["gmacs"] * 1e9 * batch * passes
  assert row["share_of_peak"] == pytest.approx(flops / row["seconds"] / row["peak_flops"])
  assert row["peak_bytes"] > 4 * 11_000_000 and row["device"] and row["versions"]["jax"]


def test_a_measurement_says_what_was_measured_and_how_fast_it_was(capsys):
  model_speed.main("resnet_18", json=True, train=True, dtype="bfloat16", batch=2, seconds=0, side=32)
  check(json.loads(capsys.readouterr().out), 2, passes=3)


def test_the_text_names_model_input_and_machine(capsys, monkeypatch):
  rows, bench = [], model_speed.bench_model
  monkeypatch.setattr(model_speed, "bench_model", lambda *a, **options: rows.append(bench(*a, **options)) or rows[0])
  model_speed.main("resnet_18", seconds=0, side=32)
  check(*rows, 1, passes=1)
  out = capsys.readouterr().out
  assert out.startswith("resnet_18: forward, 1x32x32x3, float32, ") and " ms " in out and "ratio" not in out


def test_sides_take_turns_and_medians_count():
  calls = []
  times = clock.in_turns([lambda: calls.append("a"), lambda: calls.append("b")], 0)
  assert "".join(calls) == "ab" * 4 and len(times) == 2 and all(t >= 0 for t in times)


def test_sides_that_take_no_time_are_called_often_but_not_for_ever():
  calls = []
  clock.in_turns([lambda: calls.append("a")], 1e9)
  assert len(calls) == 301


@pytest.mark.parametrize("call, words", [
    (dict(name="resnt_18"), "nearest: 'resnet_18'"),
    (dict(name="transfer"), "transfer takes video, index, of which not all"),
    (dict(name="bert_base", side=32), "bert_base takes text; only clips"),
    (dict(name="resnet_18", dtype="int8"), "int8"),
    (dict(name="resnet_18", batch=0), "batch=0"),
])
def test_mistakes_are_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError, match=words):
    model_speed.bench_model(**call)


def test_a_model_without_a_peer_says_which_have_one():
  with pytest.raises(errors.ConfigError, match="xvit_b16 has no peer; .*r3d_18"):
    peers.make("xvit_b16", 8, 224)


def test_peers_are_of_models_that_exist():
  assert set(peers.PEERS) <= set(vidx.list_models())


@pytest.mark.parametrize("train", [False, True])
def test_a_model_of_several_named_inputs_and_heads_is_measured_too(train):
  fields = dict(num_classes={"verb": 4, "noun": 6}, trunk="resnet3d_18", stages=(1,), width=8, frozen=False)
  model = vidx.create_model("saoa", **fields)
  shapes = [(2, 4, 16, 16, 3), (2, 60, 10), (2, 60, 4), (2, 60)]
  xs = model_speed.made(model.inputs, shapes)
  assert [x.shape for x in xs] == shapes and (xs[3] == 1).all() and all(x.dtype == "f" for x in xs)
  run, size = model_speed.one_pass(model, xs, train)
  run()
  assert size > 0


def test_sizes_of_clips_change_and_those_of_other_inputs_do_not():
  assert model_speed._shape((1, 64, 224, 224, 3), 2, 8, 112) == (2, 8, 112, 112, 3)
  assert model_speed._shape((1, 8, 3, 256, 256, 3), 1, 0, 0) == (1, 8, 3, 256, 256, 3)
  assert model_speed._shape((1, 60, 4), 2, 8, 112) == (2, 60, 4)
  assert [x.dtype.kind for x in model_speed.made(("text", "label/verb", "length"), [(2, 5)] * 3)] == ["i", "f", "i"]
