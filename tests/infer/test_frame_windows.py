import gc
import weakref

import numpy as np
import pytest

from vidx import errors
from vidx.infer.frame_windows import MODES, Window, slide, windows

LENGTHS = (1, 2, 5, 6, 7, 23, 40)


def given(found):
  """How often each frame is given."""
  frames = [w.frames[i] for w in found for i in w.gives]
  return np.bincount(frames)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("length", LENGTHS)
def test_every_frame_is_given_and_only_overlapping_windows_give_it_twice(mode, length):
  found = windows(length, size=5, step=3, mode=mode, sizes=(5, 3))
  count = given(found)
  assert len(count) == length and count.min() >= 1
  if mode not in ("center_overlap", "multi_window"):
    assert count.max() == 1
  for w in found:
    assert {f % 3 for f in w.frames} == {w.sequence} and set(np.diff(w.frames)) <= {3}
    assert len(w.frames) <= 5 and set(w.gives) <= set(range(len(w.frames)))


def test_overlapping_windows_are_all_runs_of_every_sequence():
  found = windows(23, size=4, step=5)
  expected = []
  for start in range(5):
    frames = list(range(start, 23, 5))
    expected += [tuple(frames[i:i + 4]) for i in range(len(frames) - 3)]
  assert sorted(w.frames for w in found) == sorted(expected)
  assert all(w.gives == (0, 1, 2, 3) for w in found)


def test_a_short_video_is_one_window_per_sequence():
  for mode in set(MODES) - {"multi_window"}:
    assert [w.frames for w in windows(7, size=11, step=5, mode=mode)] == [(0, 5), (1, 6), (2,), (3,), (4,)]


def test_the_middle_frame_counts_and_all_at_both_ends():
  found = windows(7, size=5, step=1, mode="center")
  assert [(w.frames[0], w.gives) for w in found] == [(0, (0, 1, 2)), (1, (2,)), (2, (2, 3, 4))]


def test_the_last_frame_counts_and_all_at_the_start():
  found = windows(7, size=5, step=1, mode="last")
  assert [(w.frames[0], w.gives) for w in found] == [(0, (0, 1, 2, 3, 4)), (1, (4,)), (2, (4,))]


def test_windows_side_by_side_reach_back_at_the_end_or_carry_a_memory():
  assert windows(7, size=5, step=1, mode="no_overlap") == [
      Window((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), 0), Window((2, 3, 4, 5, 6), (3, 4), 0)]
  assert windows(7, size=5, step=1, mode="long") == [
      Window((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), 0), Window((5, 6), (0, 1), 0, True)]


def test_several_sizes_are_the_windows_of_each():
  both = windows(30, step=2, mode="multi_window", sizes=(5, 3))
  assert sorted(w.frames for w in both) == sorted(
      w.frames for n in (5, 3) for w in windows(30, step=2, size=n))


class Features:
  """What can be watched being forgotten."""

  def __init__(self, value):
    self.value = value


@pytest.mark.parametrize("mode", MODES)
def test_a_long_video_is_encoded_once_and_few_features_are_held(mode):
  alive, calls, most = weakref.WeakSet(), [], 0

  def encode(frame):
    calls.append(frame)
    made = Features(frame)
    alive.add(made)
    return made

  fields = dict(size=5, step=3, mode=mode, sizes=(5, 3))
  found = []
  for window, features in slide(iter(range(400)), encode, **fields):
    found.append(window)
    assert tuple(f.value for f in features) == window.frames
    del features
    most = max(most, len(alive))
  gc.collect()
  assert found == windows(400, **fields)
  assert calls == list(range(400)) and most <= 3 * 5 + 1


def test_wrong_fields_are_named():
  with pytest.raises(errors.ConfigError, match="mode 'centre'.*nearest: 'center'"):
    windows(3, mode="centre")
  with pytest.raises(errors.ConfigError, match="sizes and step must be 1 or more"):
    windows(3, step=0)
