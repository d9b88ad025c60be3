"""What a new user meets first: a wheel, names of configs, failed starts, too little memory, messages."""

import json
import os
import pathlib
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest

from tests.conftest import line
from tests.system.conftest import ROOT, environment
import vidx
from vidx import cli, errors, places
from vidx.data.records import Dataset, Media, Record
from vidx.train import build, config, memory


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """A wheel made of a copy of the sources, by what the sdist would hold."""
  pytest.importorskip("setuptools", "70.1", reason="older ones make no wheels by themselves")
  root = tmp_path_factory.mktemp("source")
  for name in ("vidx", "configs", "setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
    subprocess.run(["cp", "-r", ROOT / name, root], check=True)
  code = "from setuptools import build_meta as b; b.build_wheel('out'); b.build_sdist('out'); b.build_editable('edit')"
  subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)
  return root


def test_a_wheel_and_an_sdist_bring_the_configs_and_a_folder_anywhere_finds_them(wheel, tmp_path):
  made, = (wheel / "out").glob("*.whl")
  with zipfile.ZipFile(made) as archive:
    names = set(archive.namelist())
    archive.extractall(tmp_path / "site")
  ours = {p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").rglob("*.py")}
  assert {f"vidx/{name}" for name in ours} <= names and "vidx/py.typed" in names and "vidx/backbones/README.md" in names
  assert not any("__pycache__" in name or name.startswith("configs/") for name in names)
  sdist, = (wheel / "out").glob("*.tar.gz")
  listed = subprocess.run(["tar", "tzf", sdist], capture_output=True, text=True, check=True).stdout.split()
  assert ours <= {name.partition("/")[2] for name in listed}
  (tmp_path / "empty").mkdir()
  (tmp_path / "empty/vidx/vidx").mkdir(parents=True)  # a clone of this name
  env = {**environment(), "PYTHONPATH": str(tmp_path / "site")}
  done = subprocess.run([sys.executable, "-m", "vidx", "train", "--config=folder/tsm_small", "--print_config"], env=env,
                        cwd=tmp_path / "empty", capture_output=True, text=True, check=False)
  assert "--config.system.trunk='resnet_18'" in done.stdout.splitlines(), done.stderr


def test_an_installation_that_can_be_edited_is_found_before_a_folder_of_its_name(wheel):
  made, = (wheel / "edit").glob("*.whl")
  with zipfile.ZipFile(made) as archive:
    names = [n for n in archive.namelist() if n.endswith(".pth")]
    assert len(names) == 1 and archive.read(names[0]).decode().strip() == str(wheel)


@pytest.mark.parametrize("name", ["folder/tsm", "folder/tsm.py", "configs/folder/tsm.py", "configs/folder/tsm"])
def test_a_config_that_comes_along_is_found_by_name_from_any_folder(name, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert cli.main(["train", f"--config={name}", "--print_config", "--config.data.crop=96"]) == 0
  assert "--config.data.crop=96" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name, near", [("folder/tms", "folder/tsm"), ("tsm_small", "folder/tsm_small"),
                                        ("configs/kinetcs/tsm.py", "kinetics/")])
def test_a_missing_config_lists_names_near_to_it(name, near, capsys):
  assert cli.main(["train", f"--config={name}", "--workdir=none"]) == 2
  assert near in line(capsys).partition("near it are")[2]


def test_a_start_that_failed_leaves_nothing_or_a_workdir_for_the_corrected_command(tiny, tmp_path, capsys, monkeypatch):
  train = ["train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}", "--config.train.max_steps=1"]
  assert cli.main([*train, "--config.train.batch_size=7", "--config.optimizer.accumulate=2"]) == 2
  assert "7" in line(capsys) and not (tmp_path / "run").exists()
  with monkeypatch.context() as patched:
    room = iter([1 << 40])  # for the parameters, and none for a step
    patched.setattr(memory, "free", lambda: next(room, 1000))
    assert cli.main([*train, "--config.train.batch_size=7"]) == 2
  assert "7" in line(capsys) and (tmp_path / "run/config.json").exists()
  assert cli.main([*train, "--config.train.batch_size=8"]) == 0
  assert "compiling the train step" in capsys.readouterr().out
  assert json.loads((tmp_path / "run/config.json").read_text())["train"]["batch_size"] == 8
  assert cli.main([*train, "--config.train.batch_size=4"]) == 2
  assert "belongs to another config" in line(capsys)


def test_too_little_memory_is_said_before_the_first_step(tiny, tmp_path, capsys, monkeypatch):
  room = iter([1 << 40])  # for the parameters, which are compared first
  monkeypatch.setattr(memory, "free", lambda: next(room, 1000))
  assert cli.main(["train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}"]) == 2
  said = line(capsys)
  assert all(word in said for word in ("0.0 are free", "train.batch_size=8", "data.frames=4", "data.crop=32",
                                       "optimizer.accumulate=1", "folder/tsm_small"))


def test_more_classes_than_memory_are_refused_before_they_are_made(tiny, tmp_path, capsys):
  assert cli.main(["train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}",
                   "--config.system.num_classes=1000000000000"]) == 2
  assert "tsm and its optimizer need" in (said := line(capsys)) and "system.num_classes=1000000000000" in said


def test_a_limit_on_addresses_bounds_what_is_free(monkeypatch):
  monkeypatch.setattr(memory.resource, "getrlimit", lambda what: (8 << 10, 8 << 10))
  assert memory.free() == 0


@pytest.mark.parametrize("error", [MemoryError(), "RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes"])
def test_out_of_memory_is_one_line(error, tiny, tmp_path, capsys, monkeypatch):
  error = jax.errors.JaxRuntimeError(error) if isinstance(error, str) else error

  def full(*_):
    raise error

  monkeypatch.setattr(memory, "compile_step", full)
  assert cli.main(["train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}"]) == 2
  assert "out of memory: lower train.batch_size=8" in line(capsys)


def test_large_networks_on_few_videos_are_told_to_start_from_weights():
  c = config.base()
  c.system = dict(name="tsm", trunk="resnet_50")
  said = "\n".join(memory.advice(c, 24_000_000, 300, True))
  assert "few videos, 300, for" in said and "--config.train.init_from=torchvision:resnet50" in said
  assert "folder/tsm_small" in said
  assert not memory.advice(c, 200_000, 300, True) and not memory.advice(c, 24_000_000, 300, False)
  c.train.init_from = ("torchvision:resnet50",)
  assert "few" not in "\n".join(memory.advice(c, 24_000_000, 300, True))


def test_memory_that_is_free_is_known_here():
  assert memory.free() is None or 0 <= memory.free() < 1 << 50


def test_a_dry_run_states_memory_and_time_and_writes_nothing(tiny, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert cli.main(["train", f"--config={tiny}", "--dry_run"]) == 0
  said = capsys.readouterr().out
  assert "s per step" in said and "GiB beside the parameters" in said and not os.listdir(tmp_path)


@pytest.mark.parametrize("args, words", [
    (["train", "--config=folder/tsm", "--workdir=none"], ["no data root", "--config.data.root=FOLDER."]),
    (["data", "check"], ["no data root", "--root=FOLDER."]),
    (["eval"], ["no workdir", "--workdir=FOLDER"]),
    (["report"], ["no workdir", "--workdir=FOLDER"]),
])
def test_messages_name_the_flags_that_the_command_has(args, words, capsys, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert cli.main(args) == 2
  said = line(capsys)
  assert all(word in said for word in words), said


def test_a_wrong_trunk_names_the_nearest(tiny, tmp_path, capsys):
  assert cli.main(["train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}", "--config.system.trunk=resnet50"]) == 2
  assert "unknown trunk 'resnet50' (nearest: 'resnet_50')" in line(capsys)


def test_a_workdir_without_figures_has_no_report(tmp_path, capsys):
  (tmp_path / "config.json").write_text(json.dumps({"system": {"name": "tsm"}}))
  assert cli.main(["report", f"--workdir={tmp_path}"]) == 2
  assert "nothing to report yet" in line(capsys) and not (tmp_path / "report.html").exists()


def test_version_and_models_come_at_once(capsys):
  assert cli.main(["--version"]) == 0
  assert capsys.readouterr().out == f"vidx {vidx.__version__}\n"
  code = ("import sys, time; t = time.time(); from vidx import cli; cli.main(['models']); s = time.time() - t;"
          "print('jit' in repr(sys.modules.get('jax')), s, file=sys.stderr)")
  done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
  assert len(done.stdout.splitlines()) == len(vidx.list_models()) + 1
  assert float(done.stderr.split()[-1]) < 30  # counting all takes minutes


def test_one_model_shows_its_fields(capsys):
  assert cli.main(["models", "tsm"]) == 0
  said = capsys.readouterr().out
  assert "fields of tsm" in said and "trunk = " in said and "of its trunk" in said


def test_python_trains_and_evaluates_as_the_command_does(tiny, tmp_path, capsys):
  done = vidx.train(tiny, str(tmp_path / "run"), ["train.max_steps=1"])
  assert done["step"] == 1 and vidx.train.loop
  found = vidx.evaluate(str(tmp_path / "run"))
  assert {"top-1", "mean class"} <= set(found["metrics"])


def test_compiled_programs_are_kept_where_the_user_does_not_say(tmp_path):
  code = ("from vidx.command import process; process.start_jax(); import jax;"
          "print(jax.config.jax_compilation_cache_dir)")
  env = {k: v for k, v in environment().items() if k != "JAX_COMPILATION_CACHE_DIR"}
  said = lambda **more: subprocess.run([sys.executable, "-c", code], env={**env, **more}, capture_output=True,
                                       text=True, check=True).stdout.strip()
  assert said(VIDX_CACHE=str(tmp_path)).startswith(str(tmp_path / "xla"))
  assert said(VIDX_CACHE=str(tmp_path), JAX_COMPILATION_CACHE_DIR="/elsewhere") == "/elsewhere"
  assert said(VIDX_CACHE="/proc/none") == "None"


def test_the_cache_and_the_configs_have_one_place(monkeypatch, tmp_path):
  monkeypatch.setenv("VIDX_CACHE", str(tmp_path))
  assert places.cache("a", "b") == str(tmp_path / "a/b")
  assert pathlib.Path(places.configs(), "folder/tsm.py").is_file()


def test_balanced_training_draws_all_classes_equally_often():
  labels = [0] * 20 + [1] * 3 + [2] * 1 + [-1]
  data = Dataset("none", "train", tuple(Record(str(i), Media(str(i)), y) for i, y in enumerate(labels)), tuple("abc"))
  c = config.base()
  assert build.balanced(c, data) is data
  c.data.balanced = True
  drawn = np.array(labels)[build.balanced(c, data).plan.draw(0, 1)[:, 0]]
  assert len(drawn) == 25 and set(np.bincount(drawn)) == {8, 9}
  with pytest.raises(errors.ConfigError, match="draws its epochs in its own way"):
    build.balanced(c, build.balanced(c, data))
