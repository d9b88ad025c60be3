"""Accelerators that need not be there: XLA's own compilers take a description of them, and give what they would run."""

from collections.abc import Iterator
import contextlib
import dataclasses
import importlib.util
import os
import re
import sys
from typing import Any

from vidx import errors


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip, by its maker's figures.

  Attributes:
    memory: bytes.
    macs_per_cycle: products of bf16 with sums in float32 that its matrix units do in a cycle; 0: no estimate of
      cycles is made for it.
    example: a target with few of them.
  """

  memory: int
  macs_per_cycle: int
  example: str


# Cloud TPU documentation: memory per chip; matrix units per chip times their sides squared.
CHIPS = {
    "v5e": Chip(16 << 30, 4 * 128**2, "v5e:2x2"),
    "v5p": Chip(95 << 30, 8 * 128**2, "v5p:2x2x1"),
    "v6e": Chip(32 << 30, 4 * 256**2, "v6e:2x2"),
    "h100": Chip(80 << 30, 0, "h100"),
}

# What NVIDIA's driver says of an H100 with SXM5, in the form in which XLA reads it.
_H100 = """gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
 shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000
 l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
 cuda_compute_capability { major: 9 minor: 0 } registers_per_core_limit: 65536 registers_per_block_limit: 65536 }
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 patch: 0 } device_description_str: "NVIDIA H100 80GB HBM3"
"""


def chip(target: str) -> Chip:
  """The chip of a target such as 'v5e:2x2' or 'h100'.

  Raises:
    ConfigError: no such target.
  """
  kind, _, shape = target.partition(":")
  if kind not in CHIPS:
    examples = ", ".join(c.example for c in CHIPS.values())
    raise errors.ConfigError(f"target '{target}' is none of {examples}, or a larger slice of TPUs.")
  if kind == "h100" and shape or kind != "h100" and not re.fullmatch(r"\d+(x\d+)+", shape):
    raise errors.ConfigError(f"target '{target}': write it as {CHIPS[kind].example}.")
  return CHIPS[kind]


def compiler(target: str) -> tuple[str, str]:
  """The package that compiles for a target, and the extra that installs it; raises ConfigError for no such target."""
  chip(target)
  return ("jax-cuda12-plugin", "gpu") if target == "h100" else ("libtpu", "tpu")


def devices(target: str) -> list[Any]:
  """Devices of a described topology, for a mesh to compile for; none of them is opened.

  Raises:
    ConfigError: no such target, or its compiler is not installed.
  """
  package, extra = compiler(target)
  from jax.experimental import topologies
  if importlib.util.find_spec(package.replace("-", "_")) is None:
    raise errors.ConfigError(f"the compiler for {target} is not installed: pip install 'vidx[{extra}]'.")
  # One process may compile while another does; no machine of a cluster is asked who the others are.
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  import jax
  if not jax.config.jax_platforms:
    jax.config.update("jax_platforms", "cpu")  # shapes need no accelerator, and without one the others complain
  try:
    with _without_warnings():
      if target == "h100":
        return topologies.get_topology_desc(platform="cuda", topology_name="h100", topology="1x1x1",
                                            target_config=_H100).devices
      return topologies.get_topology_desc(platform="tpu", topology_name=target).devices
  except Exception as e:  # pylint: disable=broad-except  # JaxRuntimeError, ValueError and others, by version
    reason = " ".join(str(e).split())
    raise errors.ConfigError(f"{target} cannot be described to its compiler: {reason[:300]}") from e


def options(target: str) -> dict[str, str | bool]:
  """What the compiler is told besides: no timing on a chip, and where CUDA's assembler is.

  Its own kernels of products are chosen by timing them; without that it takes the first, which not all products fit, so
  that they are left to cuBLAS.
  """
  if target != "h100":
    return {}
  found = importlib.util.find_spec("nvidia")
  places = [os.path.join(p, "cuda_nvcc") for p in found.submodule_search_locations] if found else []
  where = next((p for p in places if os.path.isdir(p)), "")
  return {"xla_gpu_autotune_level": "0", "xla_gpu_enable_triton_gemm": False,
          **({"xla_gpu_cuda_data_dir": where} if where else {})}


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
  """Keeps libtpu from complaining, past Python, that this machine is no part of a TPU."""
  sys.stderr.flush()
  kept = os.dup(2)
  try:
    with open(os.devnull, "w") as nothing:
      os.dup2(nothing.fileno(), 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
