"""Runs a command as several processes of one `jax.distributed` run on this machine.

  python launch/local_cluster.py --processes=2 --devices=4 -- vidx train --config=F --workdir=D

Every process has `--devices` simulated CPU devices and learns its place in the
run from VIDX_COORDINATOR, VIDX_NUM_PROCESSES and VIDX_PROCESS_ID. Output comes
with the number of its process in front. When one process fails, the others are
ended, and its exit status is the launcher's.
"""

import asyncio
from collections.abc import Mapping, Sequence
import os
import signal
import socket
import sys

from absl import app
from absl import flags

_PROCESSES = flags.DEFINE_integer("processes", 2, "processes to start", lower_bound=1)
_DEVICES = flags.DEFINE_integer("devices", 1, "simulated CPU devices per process", lower_bound=1)
_GRACE = flags.DEFINE_float("grace_s", 10.0, "seconds that the others have to end before they are killed")

_LINE_LIMIT = 2**24  # bytes in one line of output


def free_port() -> int:
  """A port of the loopback interface that nobody uses at the moment."""
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    return s.getsockname()[1]


def environment(index: int, processes: int, devices: int, port: int, base: Mapping[str, str]) -> dict[str, str]:
  """The variables of process `index`; other XLA_FLAGS are kept."""
  simulate = "--xla_force_host_platform_device_count="
  kept = [f for f in base.get("XLA_FLAGS", "").split() if not f.startswith(simulate)]
  return {
      **base,
      "VIDX_COORDINATOR": f"127.0.0.1:{port}",
      "VIDX_NUM_PROCESSES": str(processes),
      "VIDX_PROCESS_ID": str(index),
      "JAX_PLATFORMS": "cpu",
      "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
      "XLA_FLAGS": " ".join([*kept, f"{simulate}{devices}"]),
      "PYTHONUNBUFFERED": "1",
      # `vidx` of this Python's environment comes before any other.
      "PATH": os.pathsep.join([os.path.dirname(sys.executable), base.get("PATH", "")]),
  }


async def _copy(index: int, stream: asyncio.StreamReader) -> None:
  """Prints the lines of one process with its number in front."""
  while line := await stream.readline():
    sys.stdout.write(f"[{index}] {line.decode(errors='replace').rstrip()}\n")
    sys.stdout.flush()


def _send(processes: Sequence[asyncio.subprocess.Process], signum: int) -> None:
  """Signals every process, with what it started."""
  for p in processes:
    try:
      os.killpg(p.pid, signum)
    except (ProcessLookupError, PermissionError):
      pass  # nothing of it is left


async def _end(processes: Sequence[asyncio.subprocess.Process], grace: float) -> None:
  """Waits for all to end, but no longer than `grace` seconds."""
  try:
    await asyncio.wait_for(asyncio.gather(*(p.wait() for p in processes)), grace)
  except asyncio.TimeoutError:
    pass
  _send(processes, signal.SIGKILL)
  await asyncio.gather(*(p.wait() for p in processes))


async def run(command: Sequence[str], processes: int, devices: int, grace: float) -> int:
  """Runs `command` in all processes; returns 0, or the exit status of the first that failed."""
  port = free_port()
  started = []
  for index in range(processes):
    started.append(await asyncio.create_subprocess_exec(
        *command, env=environment(index, processes, devices, port, os.environ), limit=_LINE_LIMIT,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        start_new_session=True))
  passed_on = []

  def pass_on(signum: int) -> None:
    passed_on.append(signum)
    _send(started, signum)

  for signum in (signal.SIGINT, signal.SIGTERM):
    asyncio.get_running_loop().add_signal_handler(signum, pass_on, signum)
  copies = [asyncio.create_task(_copy(i, p.stdout)) for i, p in enumerate(started)]
  running = {asyncio.create_task(p.wait()): i for i, p in enumerate(started)}
  status = 0
  while running and not status:
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
      index, code = running.pop(task), task.result()
      if code and not status:
        status = code if code > 0 else 128 - code
        print(f"process {index} ended with status {status}; ending the others", file=sys.stderr, flush=True)
  if status and not passed_on:
    _send(started, signal.SIGTERM)
  await _end(started, grace)
  await asyncio.wait(copies, timeout=grace)
  return status


def main(argv: Sequence[str]) -> int:
  command = argv[1:]
  if not command:
    print("local_cluster: no command; write it after `--`, such as `-- vidx train ...`.", file=sys.stderr)
    return 2
  try:
    return asyncio.run(run(command, _PROCESSES.value, _DEVICES.value, _GRACE.value))
  except FileNotFoundError:
    print(f"local_cluster: the command '{command[0]}' is not found.", file=sys.stderr)
    return 2


if __name__ == "__main__":
  app.run(main)
