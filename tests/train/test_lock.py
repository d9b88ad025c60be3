"""One run at a time trains in a workdir; its end, in whatever way, lets the next one in."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from vidx import errors
from vidx.train import lock

HOLDER = """
    import sys, time
    from vidx.train import lock
    with lock.hold(sys.argv[1], main=True):
      print("held", flush=True)
      time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
  root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
  process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path / "run")], text=True,
                             env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE)
  assert process.stdout.readline() == "held\n"
  yield process
  process.kill()
  process.wait()


def test_a_second_run_is_told_who_trains_there_until_that_process_has_died(holder, tmp_path):
  workdir = str(tmp_path / "run")
  with pytest.raises(errors.CheckpointError) as e, lock.hold(workdir, main=True):
    pass
  text = str(e.value)
  assert f"process {holder.pid} on {os.uname().nodename}, since 2" in text and workdir in text and "\n" not in text
  assert e.value.status == 2
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  with lock.hold(workdir, main=True) as held:
    held.check()


def test_a_lock_is_free_after_an_end_and_after_an_error(tmp_path):
  workdir = str(tmp_path / "a" / "run")
  with pytest.raises(ZeroDivisionError), lock.hold(workdir, main=True):
    1 / 0
  for _ in range(2):
    with lock.hold(workdir, main=True), lock.hold(workdir, main=False):  # another process of the same run
      assert os.path.getsize(os.path.join(workdir, lock.FILE))
  assert not os.path.getsize(os.path.join(workdir, lock.FILE))


def test_a_holder_that_has_not_said_its_name_is_another_process(tmp_path):
  with open(tmp_path / lock.FILE, "w") as f:
    fcntl.flock(f, fcntl.LOCK_EX)
    with pytest.raises(errors.CheckpointError, match="^another process trains in workdir"):
      with lock.hold(str(tmp_path), main=True):
        pass


def deleted(workdir):
  shutil.rmtree(workdir)


def replaced(workdir):
  os.rename(workdir, workdir + ".old")
  os.mkdir(workdir)


@pytest.mark.parametrize("change", [deleted, replaced])
def test_a_workdir_that_goes_away_is_what_a_run_says_whatever_failed_first(change, tmp_path):
  workdir = str(tmp_path / "run")
  with pytest.raises(errors.CheckpointError, match="was deleted or replaced"), lock.hold(workdir, main=True) as held:
    held.check()
    change(workdir)
    raise KeyError("checkpoints")
  with pytest.raises(errors.CheckpointError, match="was deleted or replaced"), lock.hold(workdir, main=True) as held:
    shutil.rmtree(workdir)
    held.check()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.CheckpointError, match="cannot write to workdir .*: Not a directory."):
    with lock.hold(str(tmp_path / "file" / "run"), main=True):
      pass


def test_a_disk_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, capsys):
  def refuse(fd, how):
    raise OSError(95, "Operation not supported")
  monkeypatch.setattr(lock.fcntl, "flock", refuse)
  with lock.hold(str(tmp_path), main=True) as held:
    held.check()
  assert "cannot be locked (Operation not supported)" in capsys.readouterr().out
