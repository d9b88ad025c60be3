"""Fixtures shared by all tests."""

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
  """Folder of small real data sets, named by VIDX_REAL_DATA."""
  root = os.environ.get("VIDX_REAL_DATA", "")
  if not root or not pathlib.Path(root).is_dir():
    pytest.skip("VIDX_REAL_DATA names no folder: checks on real videos are left out")
  return pathlib.Path(root)
