"""The launchers for clusters: what they would run, without a cluster."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import yaml

ROOT = pathlib.Path(__file__).parents[2]


def dry_run(*flags, command=("vidx", "train", "--config=configs/folder/tsm.py")):
  run = subprocess.run(
      [sys.executable, str(ROOT / "launch" / "tpu_vm.py"), "--dry_run", *flags, "--", *command],
      capture_output=True, text=True)
  return run.returncode, [shlex.split(line) for line in run.stdout.splitlines()], run.stderr


def remote(words):
  """The shell command that a printed gcloud line runs on the workers."""
  return next(w for w in words if w.startswith("--command=")).removeprefix("--command=")


def test_a_dry_run_copies_installs_and_starts_on_all_workers():
  status, commands, _ = dry_run("--name=my-tpu", "--zone=z", "--project=p", "--workdir=/mnt/run")
  assert status == 0
  assert [c[0] for c in commands] == ["tar", "gcloud", "gcloud", "gcloud"]
  assert [c[4] for c in commands[1:]] == ["scp", "ssh", "ssh"]
  for command in commands[1:]:
    assert {"--worker=all", "--zone=z", "--project=p"} <= set(command)
  assert "install_vidx tpu" in remote(commands[2])
  assert "vidx train --config=configs/folder/tsm.py --workdir=/mnt/run" in remote(commands[3])
  assert "VIDX_DISTRIBUTED=1" in remote(commands[3])


def test_preparation_comes_before_the_installation():
  _, commands, _ = dry_run("--name=t", "--zone=z", "--prepare=sudo mount-videos")
  install = remote(commands[2])
  assert install.index("sudo mount-videos") < install.index("install_vidx")


def test_the_started_command_outlives_its_shell_and_can_be_stopped(tmp_path):
  (tmp_path / "vidx").mkdir()
  (tmp_path / "vidx-logs").mkdir()
  env = {**os.environ, "HOME": str(tmp_path)}
  _, commands, _ = dry_run("--name=t", "--zone=z", command=(
      sys.executable, "-c", "import time; print('a b', flush=True); time.sleep(60)"))
  start = remote(commands[3])
  subprocess.run(["sh", "-c", start], env=env, check=True, timeout=30)
  pid = int((tmp_path / "vidx-logs" / "t.pid").read_text())
  try:
    log = tmp_path / "vidx-logs" / "t.log"
    for _ in range(300):
      if log.exists() and log.read_text():
        break
      time.sleep(0.1)
    assert log.read_text() == "a b\n" and os.getpgid(pid) == pid
    again = subprocess.run(["sh", "-c", start], env=env, capture_output=True, text=True, timeout=30)
    assert again.returncode == 1 and again.stdout == "t runs already\n"
    _, commands, _ = dry_run("--name=t", "--zone=z", "--stop")
    subprocess.run(["sh", "-c", remote(commands[0])], env=env, check=True, timeout=30)
    assert not (tmp_path / "vidx-logs" / "t.pid").exists()
  finally:
    try:
      os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
      pass


def test_the_archive_holds_the_sources_but_not_what_they_made(tmp_path):
  _, commands, _ = dry_run("--name=t", "--zone=z")
  tar = commands[0]
  tar[2] = str(tmp_path / "a.tar.gz")
  subprocess.run(tar, check=True)
  names = subprocess.run(["tar", "tzf", tar[2]], check=True, capture_output=True, text=True).stdout.split()
  assert {"./setup.cfg", "./vidx/cli.py", "./launch/common.sh"} <= set(names)
  assert not any(n.startswith(("./.git/", "./.venv/", "./runs/")) or "__pycache__" in n for n in names)


def test_a_missing_command_is_one_line():
  run = subprocess.run([sys.executable, str(ROOT / "launch" / "tpu_vm.py"), "--name=t", "--zone=z", "--dry_run"],
                       capture_output=True, text=True)
  assert run.returncode == 2 and run.stderr.startswith("tpu_vm: no command")


def test_the_jobset_names_one_coordinator_and_as_many_processes_as_pods():
  jobset = yaml.safe_load((ROOT / "launch" / "k8s" / "jobset.yaml").read_text())
  name, network = jobset["metadata"]["name"], jobset["spec"]["network"]
  [job] = jobset["spec"]["replicatedJobs"]
  spec = job["template"]["spec"]
  [container] = spec["template"]["spec"]["containers"]
  env = {e["name"]: e.get("value") for e in container["env"]}
  assert network["enableDNSHostnames"] and job["replicas"] == 1
  host, port = env["VIDX_COORDINATOR"].split(":")
  assert host == f"{name}-{job['name']}-0-0.{network['subdomain']}"
  assert int(port) == container["ports"][0]["containerPort"]
  assert int(env["VIDX_NUM_PROCESSES"]) == spec["parallelism"] == spec["completions"]
  assert "VIDX_PROCESS_ID" in env and spec["completionMode"] == "Indexed"
  mounts = {m["name"] for m in container["volumeMounts"]}
  assert mounts == {v["name"] for v in spec["template"]["spec"]["volumes"]}


def test_slurm_starts_one_process_per_gpu():
  text = (ROOT / "launch" / "slurm.sbatch").read_text()
  options = dict(line.removeprefix("#SBATCH --").split("=", 1) for line in text.splitlines()
                 if line.startswith("#SBATCH --") and "=" in line)
  assert options["gpus-per-node"] == options["ntasks-per-node"]
  subprocess.run(["bash", "-n", str(ROOT / "launch" / "slurm.sbatch")], check=True)


def test_slurm_outside_the_repository_is_one_line(tmp_path):
  run = subprocess.run(["bash", str(ROOT / "launch" / "slurm.sbatch")], cwd=tmp_path, capture_output=True,
                       text=True, env={**os.environ, "SLURM_SUBMIT_DIR": str(tmp_path)})
  assert run.returncode == 2 and "is not the repository" in run.stderr
