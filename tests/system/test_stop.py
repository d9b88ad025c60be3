"""Runs that are asked to end save first, alone and among several processes; a workdir has one run at a time."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.system.conftest import ROOT, environment, losses
from vidx.train import stop

# Background jobs of a shell ignore SIGINT, unless they say otherwise.
TRAIN = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
         "from vidx import __main__; __main__.run()")


def command(config, workdir, workers=0, before=""):
  return [sys.executable, "-c", before + TRAIN, "train", f"--config={config}", f"--workdir={workdir}",
          "--config.schedule.epochs=400.0", "--config.system.stages=1,", f"--config.data.workers={workers}",
          "--config.schedule.name=constant"]


def start(words, devices=1, **extra):
  return subprocess.Popen(words, env=environment(devices, **extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True)


def wait_for_steps(process, workdir, count=5):
  file, until = pathlib.Path(workdir) / "metrics.jsonl", time.monotonic() + 120
  while not file.exists() or file.read_bytes().count(b"\n") < count:
    assert process.poll() is None, process.communicate()
    assert time.monotonic() < until
    time.sleep(0.02)


def together(words):
  return [sys.executable, str(ROOT / "launch" / "local_cluster.py"), "--processes=2", "--devices=1", "--grace_s=60",
          "--", *words]


def of_the_run(launcher):
  """{number in its run: process} of what a launcher started."""
  found = {}
  for pid in pathlib.Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
    settings = dict(x.split("=", 1) for x in pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in x)
    if "VIDX_PROCESS_ID" in settings:  # a child has its launcher's until it is a program of its own
      found[int(settings["VIDX_PROCESS_ID"])] = int(pid)
  return found


def saved(workdir):
  return max(int(n) for n in os.listdir(pathlib.Path(workdir) / "checkpoints") if n.isdigit())


def test_ctrl_c_to_a_group_saves_and_another_run_waits_its_turn(tiny, tmp_path):
  workdir = tmp_path / "run"
  process = start(command(tiny, workdir, workers=1))
  try:
    wait_for_steps(process, workdir)
    second = subprocess.run(command(tiny, workdir), env=environment(), capture_output=True, text=True)
    assert second.returncode == 2 and second.stderr.count("\n") == 1
    assert f"process {process.pid} on {os.uname().nodename}, since 2" in second.stderr
    os.killpg(process.pid, signal.SIGINT)  # decoding processes hear it too
    out, err = process.communicate(timeout=60)
  finally:
    process.kill()
  assert process.returncode == stop.STATUS, out + err
  assert "Traceback" not in out + err and err.splitlines()[-1].startswith("vidx: stopped at step")
  assert saved(workdir) == max(losses(workdir)) and not (workdir / "DONE.json").exists()


def test_processes_of_which_one_is_asked_agree_on_the_step_at_which_they_stop(tiny, tmp_path):
  workdir = tmp_path / "run"
  process = start(together(command(tiny, workdir)))
  try:
    wait_for_steps(process, workdir)
    os.kill(of_the_run(process.pid)[1], signal.SIGINT)  # which it passes on as a SIGTERM to itself
    out, err = process.communicate(timeout=120)
  finally:
    process.send_signal(signal.SIGTERM)
  assert process.returncode == stop.STATUS, out + err
  assert "Traceback" not in out + err
  step = saved(workdir)
  assert step == max(losses(workdir)) and out.count(f"vidx: stopped at step {step} of 1600") == 2


def wait_for_handler(pid, signum):
  """Until a process hears a signal by itself."""
  until, caught = time.monotonic() + 120, 0
  while not caught >> signum - 1 & 1:
    assert time.monotonic() < until
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    time.sleep(0.005)


# Holds the first step back, longer than JAX's service takes to hear, however fast a machine compiles.
HELD = """
import time
from vidx.train import memory

def held(*args, compiled=memory.compile_step):
  compiled(*args)
  time.sleep(5)

memory.compile_step = held
"""


def test_processes_that_go_on_hear_what_is_asked_before_their_first_step(tiny, tmp_path):
  workdir = tmp_path / "run"
  process = start(together(command(tiny, workdir)))
  try:
    wait_for_steps(process, workdir)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == stop.STATUS, out + err
    before = saved(workdir)
    process = start(together(command(tiny, workdir, before=HELD)))
    until = time.monotonic() + 60
    while len(of_it := of_the_run(process.pid)) < 2:
      assert time.monotonic() < until
      time.sleep(0.005)
    for pid in of_it.values():
      wait_for_handler(pid, signal.SIGTERM)  # JAX's service hears
    os.kill(of_it[1], signal.SIGTERM)
    out, err = process.communicate(timeout=120)
  finally:
    process.send_signal(signal.SIGTERM)
  assert process.returncode == stop.STATUS, out + err
  assert "Traceback" not in out + err
  assert before < saved(workdir) <= before + 2, out


def test_a_workdir_deleted_under_a_run_is_one_line(tiny, tmp_path):
  workdir = tmp_path / "run"
  process = start(command(tiny, workdir))
  try:
    wait_for_steps(process, workdir)
    os.rename(workdir, tmp_path / "away")
    shutil.rmtree(tmp_path / "away")
    out, err = process.communicate(timeout=60)
  finally:
    process.kill()
  assert process.returncode == 2, out + err
  assert err.count("\n") == 1, err
  assert f"workdir {workdir} was deleted or replaced" in err


LISTENER = """
import gc, os, signal, time
from vidx.command import process
signal.signal(signal.SIGINT, signal.default_int_handler)
process.start_jax()
process._SOON_S = {soon_s}

def listen(phase, info):
  gc.callbacks.remove(listen)
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(0)

for _ in range({times}):
  gc.callbacks.append(listen)
  try:
    gc.collect()
    for _ in range(6000):  # in parts: Python goes to sleep over a signal that comes just before it does
      time.sleep(0.01)
  except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize("soon_s, times", [(0.02, 2), (0, 100)])  # 0: while the one before is seen to, on a busy machine
def test_ctrl_c_while_garbage_is_collected_is_heard(soon_s, times):
  found = subprocess.run([sys.executable, "-c", LISTENER.format(soon_s=soon_s, times=times)], env=environment(1),
                         capture_output=True, text=True, timeout=50)
  assert (found.stdout, found.stderr, found.returncode) == ("heard\n" * times, "", 0)


def test_a_command_that_goes_on_from_nothing_does_not_promise_to(tmp_path):
  code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from vidx import cli;"
          "from vidx.data import check; check.check = lambda *a, **k: signal.raise_signal(signal.SIGINT);"
          f"print(cli.main(['data', 'check', '--root={tmp_path}']))")
  found = subprocess.run([sys.executable, "-c", code], env=environment(1), capture_output=True, text=True, timeout=50)
  assert (found.stdout, found.stderr) == ("130\n", "vidx: interrupted.\n")
