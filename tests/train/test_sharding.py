"""Which share of a batch a process reads, on meshes of devices that are not there."""

import types

import jax
import numpy as np
import pytest

from vidx import errors
from vidx.train import sharding


def mesh(processes, *shape):
  """A mesh (data, fsdp, tensor) of devices that lie in these processes."""
  devices = np.array([types.SimpleNamespace(process_index=p) for p in processes], object)
  return types.SimpleNamespace(devices=devices.reshape(shape), shape=dict(zip(sharding.AXES, shape)))


@pytest.mark.parametrize("processes, shape, shares", [
    ([0, 0, 0, 0], (4, 1, 1), [(0, 1)]), ([0, 0, 1, 1], (4, 1, 1), [(0, 2), (1, 2)]),
    ([0, 0, 1, 1], (2, 2, 1), [(0, 2), (1, 2)]), ([0, 0, 1, 1], (2, 1, 2), [(0, 2), (1, 2)]),
    ([1, 1, 0, 0], (2, 1, 2), [(1, 2), (0, 2)]),
    ([0, 1], (1, 1, 2), [(0, 1), (0, 1)]),  # both hold all of the batch
    ([0, 0, 1, 1], (1, 1, 4), [(0, 1), (0, 1)]), ([0, 1, 2, 3], (2, 1, 2), [(0, 2), (0, 2), (1, 2), (1, 2)])])
def test_processes_that_hold_the_same_part_of_a_batch_read_the_same(processes, shape, shares, monkeypatch):
  for process, wanted in enumerate(shares):
    monkeypatch.setattr(jax, "process_index", lambda p=process: p)
    assert sharding.share(mesh(processes, *shape)) == wanted


@pytest.mark.parametrize("processes, shape", [([0, 0, 0, 1, 1, 1], (3, 1, 2)), ([0, 0, 0, 1], (2, 1, 2)),
                                              ([0, 0, 0, 1], (4, 1, 1))])
def test_parts_of_a_batch_that_overlap_are_refused(processes, shape):
  with pytest.raises(errors.ConfigError, match="cuts across the 2 processes"):
    sharding.share(mesh(processes, *shape))
