"""What compilers said, as a table: its page is the written one, rows are compiled once, failures end no others."""

import json
import subprocess

import numpy as np
import pytest

from vidx import cli, errors, places, systems
from vidx.bench import estimates
from vidx.measure import targets

SAID = dict(target="v5e:2x2", train=False, batch=8, chips=4, estimated_cycles=12_340_000, share=0.251,
            moved=2_500_000_000, memory=3 << 30, fits=True,
            collectives={"all-reduce": {"count": 2, "bytes": 1_500_000}})


@pytest.fixture
def table(tmp_path, monkeypatch):
  monkeypatch.setattr(estimates, "CSV", tmp_path / "compiled.csv")
  monkeypatch.setattr(estimates, "PAGE", tmp_path / "compiled.md")
  monkeypatch.setattr(estimates, "compiler_of", lambda target: "libtpu 1")
  return tmp_path


def test_the_page_is_what_the_command_writes_and_rows_name_what_is_there():
  every = estimates.rows()
  assert estimates.page(every) == estimates.PAGE.read_text(encoding="utf-8")
  assert every == sorted(every) and len({row.key for row in every}) == len(every)
  for row in every:
    assert targets.chip(row.target) and row.kind in ("forward", "train")
    if ".py" in row.name:
      assert (places.configs().parent / row.name.partition(":")[0]).is_file()
    else:
      assert row.name in systems.rows()


def test_a_program_is_compiled_once_until_the_compiler_changes(table, monkeypatch, capsys):
  asked = []
  monkeypatch.setattr(estimates, "compile_one", lambda *a: asked.append(a) or SAID)
  assert cli.main(["bench", "estimates", "resnet_1?", "--batch=8"]) == 0
  assert cli.main(["bench", "estimates", "resnet_18", "--batch=8"]) == 0
  assert asked == [("resnet_18", "v5e:2x2", False, 8, 1, 1800.0)]
  monkeypatch.setattr(estimates, "compiler_of", lambda target: "libtpu 2")
  assert cli.main(["bench", "estimates", "resnet_18"]) == 0
  assert len(asked) == 2 and [r.compiler for r in estimates.rows()] == ["libtpu 2"]
  assert cli.main(["bench", "estimates", "resnet_18", "--again"]) == 0 and len(asked) == 3
  page = (table / "compiled.md").read_text()
  assert "| resnet_18 | 8 | 1 | 12.34 | 25.1 % | 2.50 | 3.00 | yes | 1.5 | libtpu 2 |" in page
  assert "## v5e:2x2, 4 chips, forward" in page
  assert "12.34 Mcycles" in capsys.readouterr().out


def test_what_fails_is_named_and_the_rest_is_compiled(table, monkeypatch, capsys):
  def compile_one(name, *_):
    if name == "resnet_18":
      raise errors.ConfigError("no room.")
    if name == "resnet_34":
      raise subprocess.TimeoutExpired("it", 5.0)
    return SAID
  monkeypatch.setattr(estimates, "compile_one", compile_one)
  assert cli.main(["bench", "estimates", "resnet_18", "resnet_34", "resnet_50", "--seconds=5"]) == 2
  assert capsys.readouterr().err.splitlines() == ["resnet_18: no room.", "resnet_34: no end after 5 s"]
  assert [r.name for r in estimates.rows()] == ["resnet_50"]


def test_train_steps_for_several_sizes_of_a_slice_are_put_side_by_side(table, monkeypatch, capsys):
  chips = lambda target: int(np.prod([int(n) for n in target.partition(":")[2].split("x")]))
  monkeypatch.setattr(estimates, "compile_one", lambda name, target, train, batch, fsdp, seconds: {
      **SAID, "target": target, "chips": chips(target), "train": True, "memory": SAID["memory"] // fsdp})
  file = "configs/toybox/tsm.py"
  short = file.removeprefix("configs/")  # the same program
  for name, target, fsdp in ((file, "v5e:4x4", 1), (file, "v5e:2x2", 1), (short, "v5e:2x2", 1), (short, "v5e:2x2", 4)):
    assert cli.main(["bench", "estimates", name, f"--target={target}", f"--fsdp={fsdp}"]) == 0
  _, _, after = (table / "compiled.md").read_text().partition("## The same on more chips")
  assert [line for line in after.splitlines() if line.startswith(f"| {file}")] == [
      f"| {file} | v5e:2x2 | 8 | 1 | 4 | 12.34 | 3.00 | 1.5 |",
      f"| {file} | v5e:4x4 | 8 | 1 | 16 | 12.34 | 3.00 | 1.5 |"]
  assert "| 8 | 4 | 12.34 | 25.1 % | 2.50 | 0.75 |" in (table / "compiled.md").read_text()
  assert cli.main(["bench", "estimates", "resnet_18", "--fsdp=2"]) == 2
  assert "name FILE.py" in capsys.readouterr().err


def test_unknown_names_and_targets_are_one_line(table, capsys):
  assert cli.main(["bench", "estimates", "no_such_model"]) == 2
  assert "no model is called no_such_model" in capsys.readouterr().err
  assert not (table / "compiled.csv").exists()


def test_one_program_is_asked_for_in_a_process_of_its_own(monkeypatch):
  ran = []
  def run(command, **_):
    ran.append(command[1:])
    return subprocess.CompletedProcess(command, 0, "one line\n" + json.dumps(SAID) + "\n", "")
  monkeypatch.setattr(subprocess, "run", run)
  assert estimates.compile_one("configs/toybox/tsm.py", "h100", True, 4, 1, 9.0) == SAID
  assert estimates.compile_one("tsm_r50", "v5e:2x2", True, 4, 1, 9.0) == SAID
  estimates.compile_one("configs/toybox/tsm.py", "v5e:2x2", True, 4, 2, 9.0)
  assert ran[0] == ["-m", "vidx", "bench", "compiled", "--config=configs/toybox/tsm.py", "--target=h100", "--top=0",
                    "--batch=4", "--json"]
  assert ran[2][4:6] == ["--config=configs/toybox/tsm.py", "--config.mesh.fsdp=2"]
  assert ran[1][4] == "tsm_r50" and ran[1][-1] == "--train"
  monkeypatch.setattr(subprocess, "run", lambda c, **_: subprocess.CompletedProcess(c, 2, "", "warned\nvidx: no.\n"))
  with pytest.raises(errors.ConfigError, match="^tsm_r50: no.$"):
    estimates.compile_one("tsm_r50", "v5e:2x2", True, 4, 1, 9.0)
