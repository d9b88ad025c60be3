"""Signals while a run trains are wishes; elsewhere they are what they were."""

import os
import signal
import subprocess
import sys
import threading

from jax.experimental import multihost_utils
import pytest

from vidx.train import stop


@pytest.fixture(autouse=True)
def interrupts():
  """Tests in the background of a shell ignore Ctrl-C."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_handlers_come_back(signum, capfd):
  before = signal.getsignal(signum)
  with stop.Listener() as listener:
    assert not listener.due(1)
    os.kill(os.getpid(), signum)
    os.kill(os.getpid(), signum)  # launchers send it to a process and to its group
    assert listener.due(2) and listener.due(3)
  assert signal.getsignal(signum) == before
  assert ("ending after this step" in capfd.readouterr().err) == (signum == signal.SIGINT)


def test_the_service_for_preemption_is_asked_with_one_number_after_another(monkeypatch):
  asked = []
  monkeypatch.setattr(stop, "_together", lambda: True)
  monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", asked.append)
  for steps in ((84, 85, 86), (4, 5)):  # two trainings of a process
    with stop.Listener() as listener:
      for step in steps:
        assert not listener.due(step)
  assert asked == list(range(asked[0], asked[0] + 5))


def test_a_run_in_another_thread_leaves_signals_alone():
  before, found = signal.getsignal(signal.SIGINT), []

  def run():
    with stop.at_once(), stop.Listener() as listener:
      found.append((signal.getsignal(signal.SIGINT), listener.due(1)))

  thread = threading.Thread(target=run)
  thread.start()
  thread.join()
  assert found == [(before, False)]


def test_an_ignored_interrupt_stays_ignored():
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  with stop.at_once(), stop.Listener() as listener:
    os.kill(os.getpid(), signal.SIGINT)
    assert not listener.due(1)


def child(code):
  head = ("import os, signal, time\nfrom vidx.train import stop\n"
          "signal.signal(signal.SIGINT, signal.default_int_handler)\nme = os.getpid()\n")
  root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
  return subprocess.run([sys.executable, "-c", head + code], env={**os.environ, "PYTHONPATH": root},
                        capture_output=True, text=True, timeout=60)


def test_an_interrupt_in_start_up_is_not_swallowed_by_what_catches_exceptions():
  done = child("with stop.at_once():\n"
               "  try:\n    os.kill(me, signal.SIGINT)\n    time.sleep(9)\n"
               "  except BaseException:\n    print('swallowed')\n")
  assert done.returncode == -signal.SIGINT and not done.stdout + done.stderr


def test_an_interrupt_while_libraries_are_loaded_ends_the_command_with_nothing_said():
  done = child("import sys\n"
               "class Finder:\n"
               "  def find_spec(self, name, *rest):\n"
               "    if name == 'numpy':\n      os.kill(me, signal.SIGINT)\n"
               "sys.meta_path.insert(0, Finder())\nsys.argv = ['vidx', 'train']\n"
               "from vidx import __main__\n__main__.run()\n")
  assert done.returncode == -signal.SIGINT and not done.stdout + done.stderr


def test_a_second_interrupt_ends_at_once_with_the_status_of_an_unfinished_run():
  done = child("stop._TWICE_S = 0.1\n"
               "with stop.Listener():\n"
               "  os.kill(me, signal.SIGINT)\n  time.sleep(0.2)\n  os.kill(me, signal.SIGINT)\n  time.sleep(9)\n")
  assert done.returncode == stop.STATUS == 75
  assert "ended without saving" in done.stderr and "Traceback" not in done.stderr
