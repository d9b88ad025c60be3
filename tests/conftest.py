"""Fixtures shared by all tests."""

from collections.abc import Callable
import gc
import os
import pathlib
import resource
import subprocess
import sys

import pytest

# Tests run thousands of tiny programs, each about once: what counts is how soon they are compiled.
QUICK = ("--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
         " --xla_cpu_parallel_codegen_split_count=1")
LARGE = 2 << 20  # KiB of memory
# Tracing makes millions of objects that reference counts free; looking through them all for cycles took a quarter of
# the time of the tests.
gc.set_threshold(200_000, 20, 100)


def compile_quickly() -> None:
  """Sets XLA_FLAGS for this process and its children, unless they are set or this XLA does not know them."""
  if "XLA_FLAGS" in os.environ:
    return
  known = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env={**os.environ, "XLA_FLAGS": QUICK},
                         capture_output=True)
  os.environ["XLA_FLAGS"] = QUICK if known.returncode == 0 else ""


compile_quickly()


def line(capsys) -> str:
  """The one line of a refused command."""
  out, err = capsys.readouterr()
  found = [text for text in err.splitlines() if text]
  assert len(found) == 1 and found[0].startswith("vidx: "), (out, err)
  return found[0]


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], pathlib.Path]:
  """Finds a file or folder of the small real data sets below VIDX_REAL_DATA; if it is missing its test is left out."""
  root = os.environ.get("VIDX_REAL_DATA", "")
  if not root or not pathlib.Path(root).is_dir():
    pytest.skip("VIDX_REAL_DATA names no folder: checks on real data are left out")

  def find(name):
    path = pathlib.Path(root, name)
    if not path.exists():
      pytest.skip(f"{path} is not there: checks on this real data are left out")
    return path

  return find


@pytest.fixture(scope="session")
def case(real_data) -> Callable[[int], pathlib.Path]:
  """Finds the folder of an input that once failed, by its number, beside VIDX_REAL_DATA."""

  def find(number):
    cases = real_data("").resolve().parent / "cases"
    found = sorted(cases.glob(f"{number:02d}_*"))
    if not found:
      pytest.skip(f"{cases} holds no case {number}: it is left out")
    return found[0]

  return find


@pytest.fixture(scope="module")
def plain_convolutions():
  """For modules that are not about lowerings, which have tests of their own: XLA's convolution compiles soonest."""
  from vidx.nn import conv
  with conv.using("native"):
    yield


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
  """All compiled programs together take gigabytes: they are dropped now and then."""
  yield
  if "jax" in sys.modules and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > LARGE:
    sys.modules["jax"].clear_caches()
