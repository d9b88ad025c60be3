"""Starts the same command on all workers of a Cloud TPU VM.

  python launch/tpu_vm.py --name=my-tpu --zone=us-east5-a --workdir=/mnt/shared/run1 \\
      -- vidx train --config=configs/kinetics/tsm_r50.py --config.data.root=/mnt/shared/k400

Copies this repository to every worker, installs it there, and leaves the command
running with its output in ~/vidx-logs. --dry_run only prints what would be run.
The TPU VM exists already, `gcloud` is logged in, and --workdir is a folder that
all workers see, because each of them writes its part of a checkpoint.
"""

from collections.abc import Sequence
import pathlib
import shlex
import subprocess
import sys

from absl import app
from absl import flags

_NAME = flags.DEFINE_string("name", None, "name of the TPU VM", required=True)
_ZONE = flags.DEFINE_string("zone", None, "its zone", required=True)
_PROJECT = flags.DEFINE_string("project", "", "its project; empty: the one gcloud is set to")
_WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run, added to the command as --workdir")
_PREPARE = flags.DEFINE_string("prepare", "", "shell command for every worker before the installation, such as"
                               " one that mounts the shared folder or installs a newer Python")
_STOP = flags.DEFINE_bool("stop", False, "end the command that runs under this name instead of starting one")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the commands and run none")

ROOT = pathlib.Path(__file__).resolve().parents[1]
ARCHIVE = "vidx.tar.gz"
LEFT_OUT = ("./.git", "./.venv", "./runs", "./build", "*.egg-info", "__pycache__")


def gcloud(verb: str, *arguments: str, name: str, zone: str, project: str) -> list[str]:
  """`gcloud compute tpus tpu-vm VERB` for all workers."""
  target = [f"--zone={zone}", "--worker=all", *([f"--project={project}"] if project else [])]
  first = [name] if verb == "ssh" else []
  return ["gcloud", "compute", "tpus", "tpu-vm", verb, *first, *arguments, *target]


def start_commands(command: Sequence[str], workdir: str, prepare: str, archive: pathlib.Path,
                   **target: str) -> list[list[str]]:
  """What this machine runs to start `command` on all workers, in order."""
  words = [*command, *([f"--workdir={workdir}"] if workdir else [])]
  name = target["name"]
  install = " && ".join([
      "mkdir -p ~/vidx ~/vidx-logs", f"tar xzf ~/{ARCHIVE} -C ~/vidx",
      *([prepare] if prepare else []),
      "bash -c 'set -euo pipefail; source ~/vidx/launch/common.sh; install_vidx tpu'"])
  pid = f"~/vidx-logs/{name}.pid"
  # `setsid` makes a session that outlives the connection and a group that --stop can end.
  run = (f"if kill -0 $(cat {pid} 2>/dev/null) 2>/dev/null; then echo {name} runs already; exit 1; fi;"
         " cd ~/vidx || exit 1; PATH=~/vidx/.venv/bin:$PATH VIDX_DISTRIBUTED=1"
         " JAX_COMPILATION_CACHE_DIR=~/.cache/vidx/xla setsid nohup"
         f" {shlex.join(words)} > ~/vidx-logs/{name}.log 2>&1 < /dev/null & echo $! > {pid}")
  return [
      ["tar", "czf", str(archive), "-C", str(ROOT), *(f"--exclude={x}" for x in LEFT_OUT), "."],
      gcloud("scp", str(archive), f"{name}:{ARCHIVE}", **target),
      gcloud("ssh", f"--command={install}", **target),
      gcloud("ssh", f"--command={run}", **target),
  ]


def stop_commands(**target: str) -> list[list[str]]:
  pid = f"~/vidx-logs/{target['name']}.pid"
  return [gcloud("ssh", f"--command=kill -- -$(cat {pid}) && rm {pid}", **target)]


def main(argv: Sequence[str]) -> int:
  target = dict(name=_NAME.value, zone=_ZONE.value, project=_PROJECT.value)
  if _STOP.value:
    commands = stop_commands(**target)
  elif len(argv) < 2:
    print("tpu_vm: no command; write it after `--`, such as `-- vidx train ...`.", file=sys.stderr)
    return 2
  else:
    archive = pathlib.Path("/tmp") / f"{_NAME.value}-{ARCHIVE}"
    commands = start_commands(argv[1:], _WORKDIR.value, _PREPARE.value, archive, **target)
  for command in commands:
    print(shlex.join(command), flush=True)
    if not _DRY_RUN.value:
      try:
        status = subprocess.run(command, check=False).returncode
      except FileNotFoundError:
        print(f"tpu_vm: {command[0]} is not installed on this machine.", file=sys.stderr)
        return 2
      if status:
        print(f"tpu_vm: stopped, because the last command ended with status {status}.", file=sys.stderr)
        return status
  if not _STOP.value and not _DRY_RUN.value:
    follow = gcloud("ssh", f"--command=tail -n 20 ~/vidx-logs/{_NAME.value}.log", **target)
    print(f"\nstarted; to see its last lines:\n{shlex.join(follow)}\n"
          "to end it: the same launcher with --stop; to go on after a stop: the same command again")
  return 0


if __name__ == "__main__":
  app.run(main)
