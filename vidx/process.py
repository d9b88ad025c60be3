"""What the process of a command sets before the work: its memory, its libraries, the other processes of a run."""

import os
import sys


def take_large_pages() -> None:
  """Starts the program anew such that Linux gives its arrays pages of 2 MiB, unless the user tunes malloc already.

  XLA allocates its buffers afresh for every program that it runs on a CPU; in pages of
  4 KiB that costs up to a third of the time. glibc reads the setting at its start only.
  """
  if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
    return
  os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
  os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def start_jax() -> None:
  """Quiet libraries; joins the other processes of the run, where a launcher started several."""
  import jax
  from absl import logging
  logging.set_verbosity(logging.FATAL)  # what goes wrong in the background is raised as well
  if os.environ.get("VIDX_COORDINATOR"):
    if os.environ.get("JAX_PLATFORMS", "") == "cpu":
      jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        os.environ["VIDX_COORDINATOR"], int(os.environ["VIDX_NUM_PROCESSES"]),
        int(os.environ["VIDX_PROCESS_ID"]))
  elif os.environ.get("VIDX_DISTRIBUTED"):  # a cluster that jax recognises: Slurm, TPU, Kubernetes
    jax.distributed.initialize()
