"""Fixtures shared by all tests."""

import os
import pathlib
import sys

import pytest


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
  """Folder of small real data sets, named by VIDX_REAL_DATA."""
  root = os.environ.get("VIDX_REAL_DATA", "")
  if not root or not pathlib.Path(root).is_dir():
    pytest.skip("VIDX_REAL_DATA names no folder: checks on real videos are left out")
  return pathlib.Path(root)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
  """What a file of tests compiled is of no use to the next one; all together take gigabytes."""
  yield
  if "jax" in sys.modules:
    sys.modules["jax"].clear_caches()
