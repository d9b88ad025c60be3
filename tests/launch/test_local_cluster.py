"""The launcher of several processes on one machine."""

import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
LAUNCHER = str(ROOT / "launch" / "local_cluster.py")

PSUM = """
import os
import jax
jax.distributed.initialize(os.environ["VIDX_COORDINATOR"], int(os.environ["VIDX_NUM_PROCESSES"]),
                           int(os.environ["VIDX_PROCESS_ID"]))
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((jax.device_count(),), ("data",))
x = jax.make_array_from_callback((8,), NamedSharding(mesh, P("data")), lambda i: __import__("numpy").arange(8.)[i])
total = jax.jit(lambda a: a.sum(), out_shardings=NamedSharding(mesh, P()))(x)
print("devices", jax.local_device_count(), jax.device_count(), "sum", float(total))
"""


def start(code, *flags):
  return subprocess.Popen([sys.executable, LAUNCHER, *flags, "--", sys.executable, "-c", code],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, timeout=60):
  out, err = process.communicate(timeout=timeout)
  return process.returncode, out, err


def alive(pid):
  try:
    os.kill(pid, 0)
  except ProcessLookupError:
    return False
  return pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"


def test_two_processes_form_one_jax_run():
  status, out, err = finish(start(PSUM, "--processes=2", "--devices=4"), timeout=120)
  assert status == 0, out + err
  for index in (0, 1):
    assert f"[{index}] devices 4 8 sum 28.0" in out


def test_every_process_knows_its_place_and_keeps_the_users_xla_flags(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false --xla_force_host_platform_device_count=9")
  code = ("import os; e = os.environ;"
          "print(e['VIDX_PROCESS_ID'], e['VIDX_NUM_PROCESSES'], e['VIDX_COORDINATOR'], e['XLA_FLAGS'])")
  status, out, _ = finish(start(code, "--processes=3", "--devices=2"))
  lines = sorted(out.splitlines())
  assert status == 0 and len(lines) == 3
  for index, line in enumerate(lines):
    assert line.startswith(f"[{index}] {index} 3 127.0.0.1:")
    assert line.endswith("--xla_cpu_enable_fast_math=false --xla_force_host_platform_device_count=2")
  assert len({line.split()[3] for line in lines}) == 1


def test_one_failure_ends_all_and_gives_its_status():
  code = ("import os, sys, time; me = os.environ['VIDX_PROCESS_ID']; os.write(1, b'pid %d\\n' % os.getpid());"
          "sys.exit(7) if me == '1' else time.sleep(60)")
  since = time.monotonic()
  status, out, err = finish(start(code, "--processes=2"))
  assert status == 7 and time.monotonic() - since < 30
  assert "process 1 ended with status 7" in err
  assert not any(alive(int(line.split()[-1])) for line in out.splitlines())


def test_a_process_that_ignores_the_request_to_end_is_killed():
  code = ("import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
          "time.sleep(0.5); sys.exit(3) if os.environ['VIDX_PROCESS_ID'] == '0' else time.sleep(60)")
  since = time.monotonic()
  status, _, _ = finish(start(code, "--processes=2", "--grace_s=1"))
  assert status == 3 and time.monotonic() - since < 30


def test_a_process_that_fails_alone_does_not_wait_for_others_which_wait_for_it():
  code = ("import os\nfrom vidx import cli\nfrom vidx.command import process\nfrom vidx.train import stop\n"
          "def main(argv):\n"
          "  process.start_jax()\n"
          "  from jax.experimental import multihost_utils\n"
          "  multihost_utils.process_allgather(1)\n"
          "  if os.environ['VIDX_PROCESS_ID'] == '1':\n    return 2\n"
          "  try:\n    multihost_utils.process_allgather(1)\n"
          "  except Exception as e:\n    print('said:', stop.of_others(e), flush=True)\n"
          "  return 2\n"
          "cli.main, process._PATIENCE_S = main, 1\ncli.run()\n")
  since = time.monotonic()
  status, out, err = finish(start(code, "--processes=2", "--grace_s=30"), timeout=290)
  assert status == 2 and time.monotonic() - since < 280, out + err  # JAX would wait for 300 s
  assert "process 1 ended with status 2" in err and "Traceback" not in out and "Check failure" not in out
  assert "[0] said: another process of this run has ended" in out


def test_a_process_killed_by_a_signal_counts_as_failed():
  code = "import os, signal, time; os.kill(os.getpid(), signal.SIGKILL)"
  assert finish(start(code, "--processes=1"))[0] == 128 + signal.SIGKILL


def test_signals_reach_every_process():
  code = ("import os, signal, sys, time\n"
          "signal.signal(signal.SIGTERM, lambda *a: (print('asked to end', flush=True), sys.exit(5)))\n"
          "print('ready', flush=True)\ntime.sleep(60)\n")
  process = start(code, "--processes=2")
  ready = [process.stdout.readline() for _ in range(2)]
  assert sorted(ready) == ["[0] ready\n", "[1] ready\n"]
  process.send_signal(signal.SIGTERM)
  status, out, _ = finish(process)
  assert status == 5
  assert sorted(out.splitlines()) == ["[0] asked to end", "[1] asked to end"]


def test_a_missing_command_is_one_line():
  run = subprocess.run([sys.executable, LAUNCHER], capture_output=True, text=True)
  assert run.returncode == 2 and run.stderr.startswith("local_cluster: no command")
  run = subprocess.run([sys.executable, LAUNCHER, "--", "no-such-command"], capture_output=True, text=True)
  assert run.returncode == 2 and run.stderr == "local_cluster: the command 'no-such-command' is not found.\n"
