"""The shell scripts: how they find Python and when they install; no network."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = ["launch/common.sh", "launch/quickstart.sh", "launch/test.sh", "launch/slurm.sbatch", ".ci/run"]

FAKE_PIP = """#!/bin/sh
if [ "$1" = -m ]; then echo "$@" >> "$PIP_LOG"; exit "${PIP_STATUS:-0}"; fi
exec %s "$@"
""" % sys.executable


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_can_read(script):
  subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


@pytest.fixture
def copy(tmp_path):
  """A repository of the scripts alone, whose environment only notes what pip is asked for."""
  root = tmp_path / "a folder"
  (root / ".venv" / "bin").mkdir(parents=True)
  shutil.copytree(ROOT / "launch", root / "launch")
  for name in ("setup.cfg", "pyproject.toml"):
    shutil.copy(ROOT / name, root / name)
  python = root / ".venv" / "bin" / "python"
  python.write_text(FAKE_PIP)
  python.chmod(0o755)
  return root


def install(root, extras="", **env):
  log = root / "pip.log"
  log.write_text("")
  run = subprocess.run(["bash", "-c", f"set -euo pipefail; source '{root}/launch/common.sh'; install_vidx {extras}"],
                       capture_output=True, text=True, cwd="/", env={**os.environ, "PIP_LOG": str(log), **env})
  return run, log.read_text().splitlines()


def test_the_installation_is_done_once(copy):
  run, pip = install(copy)
  assert run.returncode == 0 and len(pip) == 1 and "installing vidx into" in run.stdout
  run, pip = install(copy)
  assert run.returncode == 0 and pip == [] and "vidx is installed in" in run.stdout


def test_the_installation_is_done_again_for_other_extras_and_a_changed_setup_cfg(copy):
  install(copy)
  _, pip = install(copy, "tests")
  assert len(pip) == 1 and pip[0].endswith("a folder[tests]")
  with open(copy / "setup.cfg", "a", encoding="utf-8") as f:
    f.write("\n")
  assert len(install(copy)[1]) == 1
  assert len(install(copy, "tests")[1]) == 1


def test_a_failed_installation_is_said_and_tried_again(copy):
  run, _ = install(copy, PIP_STATUS="1")
  assert run.returncode == 2 and "the installation failed" in run.stderr
  assert len(install(copy)[1]) == 1


def test_an_old_python_is_one_line(tmp_path):
  shutil.copytree(ROOT / "launch", tmp_path / "launch")
  old = tmp_path / "old"
  old.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo Python 3.9.1 && exit 0\nexit 1\n")
  old.chmod(0o755)
  run = subprocess.run(["bash", str(tmp_path / "launch" / "quickstart.sh")], capture_output=True, text=True,
                       env={**os.environ, "PYTHON": str(old)})
  assert run.returncode == 2 and run.stdout == ""
  [line] = run.stderr.splitlines()
  assert line.startswith("quickstart.sh: Python 3.11 or later is needed, and ") and "is Python 3.9.1;" in line
