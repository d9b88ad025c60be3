import cv2
import numpy as np
import pytest

from vidx import errors
from vidx.data import optical_flow


def textured(height=64, width=80, seed=0):
  noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype("f")
  return np.clip(128 + 4 * (cv2.GaussianBlur(noise, (0, 0), 2) - 128), 0, 255).astype(np.uint8)


def test_a_shift_is_found_in_pixels():
  frame = textured()
  flow = list(optical_flow.dis_flow([frame, np.roll(frame, (2, 3), (0, 1))]))
  assert len(flow) == 1 and flow[0].dtype == np.float32
  np.testing.assert_allclose(np.median(flow[0].reshape(-1, 2), 0), [3, 2], atol=0.2)


def test_files_are_read_in_their_formats(tmp_path):
  flow = np.random.default_rng(0).normal(0, 5, (6, 8, 2)).astype("f")
  optical_flow.write_flow(str(tmp_path / "a.flo"), flow)
  np.testing.assert_array_equal(optical_flow.read_flow(str(tmp_path / "a.flo")), flow)
  np.save(tmp_path / "a.npy", np.moveaxis(flow, -1, 0))
  np.testing.assert_array_equal(optical_flow.read_flow(str(tmp_path / "a.npy")), flow)
  coded = np.dstack([np.ones((6, 8)), np.round(flow[..., 1] * 64) + 2 ** 15, np.round(flow[..., 0] * 64) + 2 ** 15])
  coded[0, 0, 0] = 0
  cv2.imwrite(str(tmp_path / "a.png"), coded.astype(np.uint16))
  found = optical_flow.read_flow(str(tmp_path / "a.png"))
  assert not found[0, 0].any()
  np.testing.assert_allclose(found[1:], flow[1:], atol=1 / 64)


@pytest.mark.parametrize("name, content", [("x.flo", b"PIEH\x08\0\0\0\x08\0\0\0"), ("x.flo", b"no"), ("x.npy", b"no"),
                                           ("x.png", b"no"), ("x.txt", b"")])
def test_a_bad_file_is_named(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(errors.DataError, match=name):
    optical_flow.read_flow(str(tmp_path / name))


def test_a_video_needs_a_file_for_each_frame_but_the_last(tmp_path):
  for i in range(1, 12):
    optical_flow.write_flow(str(tmp_path / "clip" / f"{i}.flo"), np.full((4, 4, 2), i, "f"))
  files = optical_flow.FlowFiles(str(tmp_path / "{name}"), "clip")
  assert files(9)[0, 0, 0] == 10  # by number, not by name
  files.check(12)
  with pytest.raises(errors.DataError, match="11 files of flow; a video of 20 frames has 19"):
    files.check(20)
  with pytest.raises(errors.DataError, match="cannot be read"):
    optical_flow.FlowFiles(str(tmp_path / "{name}"), "other")


def test_flow_of_another_size_is_scaled():
  found = optical_flow.resize_flow(np.full((4, 8, 2), (2.0, 1.0), "f"), 8, 8)
  np.testing.assert_allclose(found, np.full((8, 8, 2), (2.0, 2.0)))


@pytest.mark.parametrize("camera, left", [("none", 4.0), ("median", 1.0), ("affine", 0.1)])
def test_the_cameras_own_motion_is_subtracted(camera, left):
  y, x = np.mgrid[:60, :80]
  flow = np.stack([3 + 0.02 * x, 1 - 0.01 * y], -1).astype("f")
  moving = flow.copy()
  moving[20:40, 20:40] += (6, -4)
  rest = moving - optical_flow.camera_motion(moving, camera)
  ground = np.linalg.norm(rest, axis=-1)
  ground[20:40, 20:40] = np.nan
  assert np.nanmean(ground) < left + 1.2 * (camera == "none")
  if camera == "affine":
    np.testing.assert_allclose(rest[25:35, 25:35].mean((0, 1)), [6, -4], atol=0.2)


def test_a_cut_is_told_from_motion():
  frame, other = textured(seed=1), 255 - textured(seed=2) // 3
  flow = lambda a, b: next(optical_flow.dis_flow([a, b]))
  assert optical_flow.is_cut(frame, other, flow(frame, other))
  moved = np.roll(frame, 3, 1)
  assert not optical_flow.is_cut(frame, moved, flow(frame, moved))
