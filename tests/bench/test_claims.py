import json

from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

from vidx import cli, places
from vidx.bench import claims, outcomes
from vidx.bench.claims import Claim

FILE = '''
from vidx.bench.claims import Claim

def get_claims():
  return [Claim("good", "Two is more than one.", lambda seed: {"method": 2.0 + seed, "baseline": 1.0}, margin=1.5),
          Claim("bad", "Two is less than one.", lambda seed: {"method": 2.0, "baseline": 1.0}, better="less", seeds=2)]
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
  (tmp_path / "small.py").write_text(FILE)
  monkeypatch.setattr(claims, "FOLDERS", (tmp_path,))
  return tmp_path


@pytest.mark.parametrize("better, margin, gain, holds", [
    ("more", 1.0, 1.0, True), ("more", 1.1, 1.0, False), ("less", 0.0, -1.0, False)])
def test_the_mean_over_seeds_is_held_against_the_margin(better, margin, gain, holds):
  claim = Claim("a", "A.", lambda seed: {"method": 2.0 + seed, "baseline": 2.0, "other": 0.0}, margin, better, seeds=3)
  outcome = claims.check(claim)
  assert (outcome.gain, outcome.holds) == (gain, holds)
  assert outcome.figures == {"method": [2, 3, 4], "baseline": [2, 2, 2], "other": [0, 0, 0]}
  assert len(claims.check(claim, seeds=1).figures["method"]) == 1


def test_a_claim_that_does_not_hold_is_named_and_is_the_exit_status(folder, capsys):
  assert cli.main(["claims", "small"]) == 1
  out = capsys.readouterr().out
  assert "1 of 2 claims held; not small/bad" in out and "DOES NOT HOLD" in out


def test_json_has_every_figure(folder, capsys):
  assert cli.main(["claims", "small", "--json", "--seeds=1"]) == 1
  good, bad = json.loads(capsys.readouterr().out)
  assert good["holds"] is False and good["gain"] == 1 and good["figures"]["method"] == [2.0]
  assert (bad["file"], bad["name"], bad["holds"]) == ("small", "bad", False)


def test_one_claim_of_a_file_is_run(folder, capsys):
  assert cli.main(["claims", "small/good", "--seeds=2"]) == 0
  assert "1 of 1 claim held" in capsys.readouterr().out


def test_outcomes_are_kept_and_replaced_when_they_are_run_again(folder):
  assert cli.main(["claims", "small", "--keep"]) == 1
  assert cli.main(["claims", "small/good", "--keep", "--seeds=2"]) == 0
  by_name = {r.name: r for r in outcomes.rows(folder)}
  assert set(by_name) == {"good", "bad"} and json.loads(by_name["good"].figures)["method"] == [2, 3]
  assert (by_name["good"].gain, by_name["good"].holds, by_name["bad"].holds) == ("1.5", "yes", "no")
  page = (folder / "README.md").read_text()
  assert page == outcomes.page(outcomes.rows(folder)) and "## small: 1 of 2 hold" in page
  assert "| good | Two is more than one. (%) | 2.5 | 1 | 1.5 | 1.5 | yes |  | 2 |" in page


def test_the_page_of_outcomes_is_what_the_command_writes_and_its_claims_are_there():
  folder = places.configs() / "claims"
  every = outcomes.rows(folder)
  assert every == sorted(every) and outcomes.page(every) == (folder / "README.md").read_text(encoding="utf-8")
  for row in every:
    assert row.file in {p.stem for p in folder.glob("*.py")} and json.loads(row.figures)["baseline"]


def test_outcomes_are_kept_in_a_clone_alone(folder, monkeypatch, capsys):
  monkeypatch.setattr(claims, "FOLDERS", (folder / "none", folder))
  assert cli.main(["claims", "small", "--keep"]) == 2
  assert "in a clone" in capsys.readouterr().err


def test_without_a_name_files_and_their_claims_are_listed(folder, capsys):
  assert cli.main(["claims"]) == 0
  said = capsys.readouterr().out.splitlines()
  assert said[:3] == ["small", "  small/good: Two is more than one.", "  small/bad: Two is less than one."]
  assert cli.main(["claims", "--json"]) == 0
  told = json.loads(capsys.readouterr().out)
  assert told[1] == {"file": "small", "name": "bad", "statement": "Two is less than one."}


@pytest.mark.parametrize("argv, words", [(["claims", "smal"], "nearest: 'small'"),
                                         (["claims", "small/god"], "nearest: 'good'")])
def test_mistakes_are_one_line(folder, capsys, argv, words):
  assert cli.main(argv) == 2
  assert words in capsys.readouterr().err


class Small(nn.Module):

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    self.sow("losses", "small", 1e-3 * jnp.mean(x ** 2))
    return {"logits": nn.Dense(2)(nn.Dropout(0.1, deterministic=not train)(x))}


def batches(key):
  x = jax.random.normal(key, (32, 4))
  return x, (x[:, 0] > x[:, 1]).astype(jnp.int32)


def test_a_small_model_learns_what_can_be_learnt_and_the_seed_decides_all():
  variables = claims.fit(Small(), batches, 150, seed=1, rate=3e-2)
  assert claims.accuracy(Small(), variables, batches) > 95
  assert claims.accuracy(Small(), jax.tree.map(jnp.zeros_like, variables), batches) < 70
  again = claims.fit(Small(), batches, 150, seed=1, rate=3e-2)
  assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), variables, again)))


class Compared(nn.Module):
  """Whether two numbers, seen through one fixed factor, have the same sign."""

  @nn.compact
  def __call__(self, a, b, train=False):
    scale = self.param("scale", nn.initializers.ones, ())
    h = nn.tanh(nn.Dense(8)(scale * jnp.stack([a, b], -1)))
    return {"apart": nn.Dense(1)(h)[:, 0]}


def two(key):
  a, b = jax.random.normal(key, (2, 64))
  return (a, b), {"same": a * b > 0}


def sign_loss(out, label):
  return jnp.logaddexp(0, jnp.where(label["same"], -1, 1) * out["apart"]).mean()


def test_a_model_of_several_inputs_learns_targets_of_its_own_beside_what_stays_frozen():
  train = lambda steps, **options: claims.fit(Compared(), two, steps, rate=3e-2, loss=sign_loss, **options)
  begin = {"params": {"scale": jnp.asarray(3.0)}}
  variables = train(300, frozen=("^scale",), begin=begin)
  assert variables["params"]["scale"] == 3
  told = lambda out, label: (out["apart"] > 0) == label["same"]
  assert claims.accuracy(Compared(), variables, two, told=told) > 85
  assert train(20, begin=begin)["params"]["scale"] != 3
  assert begin["params"]["scale"] == 3  # what training began with is still there


def test_a_claim_without_its_name_is_none(folder, capsys):
  assert cli.main(["claims", "small/"]) == 2
  assert "small has no claim ''; it has good, bad." in capsys.readouterr().err
