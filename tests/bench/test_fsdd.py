"""The claims of spoken digits without their trainings."""

import numpy as np
import pytest

from vidx import errors
from vidx.bench import claims as claims_lib


@pytest.fixture
def claims():
  """The file's module."""
  return claims_lib.module("fsdd")


@pytest.mark.parametrize("found", [0, 2])
def test_recordings_that_are_not_there_are_one_clear_line(claims, found, tmp_path, monkeypatch):
  monkeypatch.setenv("VIDX_REAL_DATA", str(tmp_path))
  folder = tmp_path / "fsdd/recordings"
  folder.mkdir(parents=True)
  for i in range(found):
    (folder / f"0_speaker{i}_0.wav").write_bytes(b"")
  with pytest.raises(errors.DataError, match=f"of {found} speakers, not 6: set VIDX_REAL_DATA"):
    claims.recordings()


def test_images_as_they_are_are_told_for_what_they_show(claims, monkeypatch):
  rng = np.random.default_rng(0)
  speaker, digit = rng.normal(size=(6, 1, 1, 32, 32)), rng.normal(size=(10, 1, 32, 32))
  shown = (speaker + digit + 0.5 * rng.normal(size=(6, 10, 50, 32, 32))).astype("f")
  monkeypatch.setattr(claims, "recordings", lambda: shown)
  assert claims.crossed(0, "identity as it is")[0] > 99 and claims.crossed(0, "pose as it is")[1] > 99
  assert claims.crossed(0, "identity as it is")[1] < 25 and claims.crossed(0, "pose as it is")[::2] == (0, 0)


def test_identity_and_target_are_of_one_speaker_and_pose_and_target_of_one_digit(claims, monkeypatch):
  at = np.arange(60, dtype=np.float32).reshape(6, 10, 1, 1, 1)  # who says what, in every pixel
  monkeypatch.setattr(claims, "recordings", lambda: np.broadcast_to(at, (6, 10, 50, 32, 32)))
  identity, pose, target = np.asarray(claims.batches(claims.jax.random.PRNGKey(0))[0])[:, :, 0, 0, 0].T
  assert (identity // 10 == target // 10).all() and (pose % 10 == target % 10).all()
  assert (pose // 10 != target // 10).all()
