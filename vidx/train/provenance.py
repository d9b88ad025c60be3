"""Where a run came from: versions, code revision, machine, data."""

import os
import platform
import subprocess
import sys
from typing import Any

import jax

from vidx.measure import clock

PACKAGES = ("vidx", "optax", "orbax-checkpoint", "grain", "numpy", "av", "opencv-python-headless")


def revision() -> str:
  """Git revision of the code, with '+changes' where the tree differs from it, '' outside git."""
  here = os.path.dirname(os.path.abspath(__file__))

  def git(*args):
    return subprocess.run(["git", "-C", here, *args], capture_output=True, text=True, check=True,
                          timeout=10).stdout.strip()

  try:
    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
  except (OSError, subprocess.SubprocessError):
    return ""


def describe(**extra: Any) -> dict[str, Any]:
  """Everything about this process that a reader of its numbers may ask for."""
  devices = jax.devices()
  return {
      "command": " ".join(sys.argv),
      "versions": clock.versions(PACKAGES),
      "revision": revision(),
      "platform": platform.platform(),
      "cpus": os.cpu_count(),
      "devices": f"{len(devices)} x {devices[0].device_kind}",
      "processes": jax.process_count(),
      **extra,
  }
