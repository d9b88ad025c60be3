import time

import numpy as np
import pytest

from vidx.data import fuzz, fuzz_files

KINDS = ("annotations", "features", "array_records", "configs", "weights", "results")


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_files_are_read_or_refused_by_an_error_of_the_library(kind):
  if kind == "array_records":
    pytest.importorskip("tensorflow_datasets", reason="ArrayRecord files are written by TFDS")
  made, rng = fuzz.KINDS[kind](), np.random.default_rng(7)
  files = list(made.intact(rng, "*"))
  for name, data in files:
    assert made.judge(data, rng, name) == ("read", ""), name
  until, tries = time.monotonic() + 1.5, 0
  while tries < 300 and time.monotonic() < until:
    name, data = files[tries % len(files)]
    mutation = list(made.mutations)[rng.integers(len(made.mutations))]
    seed = int(rng.integers(2**31))
    spoilt = made.mutations[mutation](data, np.random.default_rng(seed))
    verdict, detail = made.judge(spoilt, rng, name)
    assert verdict in ("read", "refused"), f"{name}, {mutation}, seed {seed}: {verdict}, {detail}"
    tries += 1


def test_what_is_foreign_and_what_is_long_is_found(monkeypatch):
  case = lambda read: fuzz_files.Case({"a/b.txt": b"x"}, "a/b.txt", read)
  assert fuzz_files.tried(case(lambda root: {}["k"]), b"y") == ("crashed", "KeyError: there is no 'k'")
  monkeypatch.setattr(fuzz_files, "_LIMIT_S", 0.01)
  assert fuzz_files.tried(case(lambda root: time.sleep(0.02)), b"y")[0] == "slow"
