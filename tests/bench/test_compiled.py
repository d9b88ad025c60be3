"""The pipeline on this machine's own compiler; three small programs for a TPU where its compiler is installed."""

import importlib.util
import json
import math

from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

from vidx import cli, errors
from vidx.bench import compiled
from vidx.measure import targets
from vidx.train import config as config_lib

TPU = importlib.util.find_spec("libtpu") is not None
ROW = "resnet_18"


@pytest.fixture
def here(monkeypatch):
  """Compiles for this machine, whatever the target."""
  monkeypatch.setattr(targets, "devices", lambda target: jax.devices("cpu")[:1])
  monkeypatch.setattr(targets, "options", lambda target: {})


def tiny():
  c = config_lib.base()
  c.system = dict(name="tsm", trunk="resnet_18", stages=(1,), width=4, stem="small", dropout=0.0)
  c.data.update(frames=2, crop=16, short_side=20)
  c.train.update(batch_size=8)
  c.optimizer.ema = 0.9
  return c


@pytest.mark.parametrize("train", [False, True])
def test_a_model_is_compiled_and_summed_up(train, here, tmp_path):
  r = compiled.bench_compiled(ROW, train=train, batch=1, top=3, hlo=str(tmp_path / "text"), within="res2_0")
  assert (r["name"], r["batch"], r["chips"], r["train"]) == (ROW, 1, 1, train)
  assert r["memory"] > 0 and r["fits"] and r["moved"] > 0 and r["share"] is None  # no cycles from this compiler
  assert len(r["instructions"]) == 3 and sum(v["moved"] for v in r["modules"].values()) == r["moved"]
  assert r["within"] == r["modules"]["res2_0"]
  assert (tmp_path / "text").read_text().startswith("HloModule")
  json.dumps(r)
  assert ROW in compiled.to_text(r)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_module_of_ones_own_is_compiled(train, wrapped, here):
  class Own(nn.Module):

    @nn.compact
    def __call__(self, x, train=False):
      y = nn.Dense(5, name="head", dtype=jnp.bfloat16)(x.mean((1, 2)))
      return {"logits": y} if wrapped else y

  r = compiled.bench_compiled(model=Own(), shapes=[(1, 8, 8, 3)], train=train, batch=4)
  assert (r["name"], r["batch"], r["train"]) == ("Own", 4, train) and r["memory"] > 0 and "head" in r["modules"]


def test_one_thing_is_compiled():
  for given in ({}, dict(name=ROW, config="f.py"), dict(name=ROW, model=nn.Dense(3))):
    with pytest.raises(errors.ConfigError, match="not both"):
      compiled.bench_compiled(**given)


def test_a_configs_whole_train_step_is_compiled(here):
  r = compiled.bench_compiled(config=tiny(), batch=4)
  assert r["train"] and r["name"] == "tsm" and r["batch"] == 4 and "res2_0" in r["modules"]
  assert compiled.bench_compiled(config=tiny())["batch"] == 8


@pytest.mark.parametrize("most, fixed, each", [(100, 0, 1), (33, 10, 3), (10_000, 5, 7), (8, 0, 1)])
def test_the_largest_batch_that_fits_is_found_in_few_compilations(most, fixed, each, here, monkeypatch):
  room = fixed + each * most
  monkeypatch.setattr(compiled, "_compiled", lambda program, target: program)
  monkeypatch.setattr(compiled, "program_bytes", lambda program: fixed + each * program)
  chip = targets.Chip(math.ceil(room / 0.95), 0, "")
  tried = {}
  batch, *_ = compiled._fitted(lambda batch: batch, chip, "v5e:2x2", tried)
  assert batch == most // 8 * 8 and len(tried) <= 7


def test_no_batch_that_fits_is_one_line(here, monkeypatch):
  def refuse(program, target):
    raise errors.ConfigError("no room")
  monkeypatch.setattr(compiled, "_compiled", refuse)
  with pytest.raises(errors.ConfigError, match="h100 has no room for even 8 examples"):
    compiled.bench_compiled(ROW, target="h100", fit=True)


@pytest.mark.parametrize("words", [[], ["a", "b"], ["nothing_so_called"], ["tsm", "--batch=-1"], ["tsm", "--target=v9"],
                                   ["tsm", "--config=configs/toybox/tsm.py"], ["--config=nowhere.py"]])
def test_bad_input_is_one_line(words, here, capsys):
  assert cli.main(["bench", "compiled", *words]) == 2
  err = capsys.readouterr().err
  assert err.count("\n") == 1 and err.startswith("vidx: ")


def test_an_unknown_name_is_told_before_a_missing_compiler(monkeypatch):
  monkeypatch.setattr(targets, "devices", lambda target: pytest.fail("asked for chips"))
  with pytest.raises(errors.ConfigError, match="unknown model 'resnet_81' .*resnet_18"):
    compiled.bench_compiled("resnet_81")


@pytest.mark.parametrize("plain, lean, own, taken", [
    (16, 64, 16, ("", 16)), (16, 64, 20, ("", 16)), (16, 64, 32, ("*.out", 64)), (16, 16, 32, ("", 16)),
    (0, 8, 32, ("*.out", 8)), (24, 0, 48, ("", 24)), (0, 0, 8, None)])
def test_sites_alone_are_kept_where_a_configs_batch_does_not_fit(plain, lean, own, taken, here, monkeypatch):
  room = {"": plain, "*.out": lean}
  monkeypatch.setattr(compiled, "_of_config", lambda c, devices, batch: (c.train.remat, batch))
  monkeypatch.setattr(compiled, "_compiled", lambda program, target: program)
  monkeypatch.setattr(compiled, "program_bytes", lambda p: p[1] if p[1] <= room[p[0]] else 1 << 60)
  c = tiny()
  c.train.batch_size = own
  chip, tried = targets.chip("v5e:2x2"), {}
  if taken is None:
    with pytest.raises(errors.ConfigError, match="no room for even 8 examples"):
      compiled._fitted_of_config(c, [None], chip, "v5e:2x2", tried)
    return
  remat, batch, program, _ = compiled._fitted_of_config(c, [None], chip, "v5e:2x2", tried)
  assert (remat, batch) == taken == program and tried[batch] == batch and c.train.remat == ""


@pytest.mark.skipif(not TPU, reason="libtpu (the extra `tpu`) is not installed")
@pytest.mark.parametrize("target", ["v5e:2x2"])
def test_the_tpus_compiler_estimates_cycles(target):
  r = compiled.bench_compiled("resnet_18", target=target)
  assert r["chips"] == 4 and r["estimated_cycles"] > 0 and 0 < r["share"] < 1 and r["fits"]
  assert r["kinds"]["products"]["cycles"] > 0.5 * r["estimated_cycles"] and not r["collectives"]


@pytest.mark.skipif(not TPU, reason="libtpu (the extra `tpu`) is not installed")
def test_a_train_step_sums_gradients_over_the_chips():
  r = compiled.bench_compiled(config=tiny())
  assert r["collectives"]["all-reduce"]["bytes"] > 0 and r["batch"] == 2
