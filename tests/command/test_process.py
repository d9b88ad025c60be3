"""What the process of a command sets before its work."""

import os
import subprocess
import sys

import pytest

from vidx.command import process

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@pytest.fixture
def bare(monkeypatch):
  """An environment that says nothing of it, which comes back as it was."""
  monkeypatch.setattr(os, "environ", {"JAX_PLATFORMS": "cpu"})
  return os.environ


@pytest.mark.parametrize("said, level", [
    ({}, "3"), ({LEVEL: "0"}, "0"), ({"VIDX_COORDINATOR": "here:1"}, None), ({"VIDX_DISTRIBUTED": "1"}, None),
    ({"JAX_PLATFORMS": ""}, None)])
def test_xla_is_quiet_on_a_cpu_unless_the_user_says_otherwise(bare, said, level, monkeypatch):
  monkeypatch.setattr(process, "ACCELERATORS", ("/dev/null",))  # there is one
  bare.update(said)
  process.quiet_xla()
  assert bare.get(LEVEL) == level


def test_without_an_accelerator_xla_is_quiet_whatever_the_platform_is_called(bare, monkeypatch):
  monkeypatch.setattr(process, "ACCELERATORS", ("/dev/no-such-*",))
  bare.clear()
  process.quiet_xla()
  assert bare[LEVEL] == "3"


def test_the_command_line_says_it_before_jax_is_loaded_which_reads_it_once():
  code = "import sys, vidx.cli; print('jax' in sys.modules)"
  assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
