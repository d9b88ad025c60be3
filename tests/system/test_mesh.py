"""The same figures on one device, on eight, and on two processes of four."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.system.conftest import ROOT, environment, losses

MESHES = {
    "one": (1, 1, []),
    "data8": (1, 8, []),
    "data4-fsdp2": (1, 8, ["--config.mesh.fsdp=2", "--config.mesh.fsdp_min_size=1"]),
    "two-processes": (2, 4, []),
    "two-processes-of-one-batch": (2, 1, ["--config.mesh.data=1", "--config.mesh.tensor=2"]),
}


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
  """{mesh: workdir} after eight steps and an evaluation."""
  found = {}
  for name, (processes, devices, flags) in MESHES.items():
    workdir = tmp_path_factory.mktemp("mesh") / name
    command = [sys.executable, "-m", "vidx", "train", f"--config={tiny}", f"--workdir={workdir}",
               "--config.schedule.epochs=2.0", "--config.train.batch_size=8", *flags]
    if processes > 1:
      command = [sys.executable, str(ROOT / "launch" / "local_cluster.py"), f"--processes={processes}",
                 f"--devices={devices}", "--", *command]
    done = subprocess.run(command, env=environment(devices), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    found[name] = workdir
  return found


@pytest.mark.parametrize("mesh", [m for m in MESHES if m != "one"])
def test_the_loss_does_not_depend_on_the_mesh(runs, mesh):
  one, other = losses(runs["one"]), losses(runs[mesh])
  assert sorted(one) == sorted(other) == list(range(1, 9))
  np.testing.assert_allclose(other[1], one[1], rtol=1e-6)
  np.testing.assert_allclose(other[8], one[8], rtol=1e-4)


@pytest.mark.parametrize("mesh", [m for m in MESHES if m != "one"])
def test_the_evaluation_does_not_depend_on_the_mesh(runs, mesh, vidx):
  figures = {}
  for name in ("one", mesh):
    rows = [json.loads(x) for x in (runs[name] / "metrics.jsonl").read_text().splitlines()]
    figures[name] = [r for r in rows if r["split"] == "val"][-1]
  assert figures["one"]["videos"] == figures[mesh]["videos"] == 11
  assert figures["one"]["top-1"] == figures[mesh]["top-1"]
  np.testing.assert_allclose(figures[mesh]["loss"], figures["one"]["loss"], rtol=1e-4)


def test_a_checkpoint_of_eight_devices_evaluates_on_one(runs, vidx):
  texts = {}
  for devices in (1, 8):
    done = vidx("eval", f"--workdir={runs['data4-fsdp2']}", "--config.mesh.fsdp=1", devices=devices)
    texts[devices] = [x for x in done.stdout.splitlines() if x.startswith(("top-1", "top-5", "mean class"))]
  assert texts[1] == texts[8] and len(texts[1]) == 3
