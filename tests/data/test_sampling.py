import math
import subprocess
import sys

import numpy as np
import pytest

from vidx import errors
from vidx.data import sampling

LENGTHS = range(1, 101)
NAMES = sorted(sampling.SAMPLERS)


def uniform_by_loops(length, n, d, phase):
  starts = length - d + 1
  tick = starts / n
  found = []
  for i in range(n):
    start = math.floor(tick * phase + i * tick + 1e-9) if length > n + d - 1 else 0
    found += [min(start + k, length - 1) for k in range(d)]
  return found


@pytest.mark.parametrize("n", [1, 3, 8, 16])
@pytest.mark.parametrize("d", [1, 3, 5])
def test_uniform_evaluation_takes_the_middle_of_each_segment(n, d):
  sample = sampling.sampler("uniform", n, consecutive=d)
  for length in LENGTHS:
    assert sample(length, None).tolist() == [uniform_by_loops(length, n, d, 0.5)]


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("d", [1, 3])
def test_twice_adds_the_start_of_each_segment(n, d):
  sample = sampling.sampler("twice", n, consecutive=d)
  for length in LENGTHS:
    expected = [uniform_by_loops(length, n, d, 0.5), uniform_by_loops(length, n, d, 0.0)]
    assert sample(length, None).tolist() == expected
    assert sample(length, np.random.default_rng(0)).shape == (1, n * d)


@pytest.mark.parametrize("n", [1, 4, 8])
@pytest.mark.parametrize("d", [1, 3])
def test_uniform_training_draws_one_start_in_each_segment(n, d):
  sample = sampling.sampler("uniform", n, consecutive=d)
  for length in LENGTHS:
    starts, share = max(1, length - d + 1), max(1, length - d + 1) // n
    for seed in range(10):
      first = sample(length, np.random.default_rng(seed))[0].reshape(n, d)[:, 0]
      if share:
        assert all(i * share <= p < (i + 1) * share for i, p in enumerate(first))
      elif length > n:
        assert np.all(np.diff(first) >= 0) and first[-1] < starts
      else:
        assert not first.any()


def test_uniform_training_reaches_every_frame_of_a_segment():
  sample, rng = sampling.sampler("uniform", 4), np.random.default_rng(0)
  seen = np.unique(np.concatenate([sample(12, rng) for _ in range(200)]), axis=0)
  assert [len(np.unique(seen[:, i])) for i in range(4)] == [3, 3, 3, 3]


@pytest.mark.parametrize("n", [4, 8, 16])
def test_dense_training_strides_through_a_window_of_64_and_loops(n):
  sample = sampling.sampler("dense", n)
  for length in LENGTHS:
    starts = set()
    for seed in range(20):
      clip = sample(length, np.random.default_rng(seed))[0]
      starts.add(int(clip[0]))
      assert clip.tolist() == [(clip[0] + i * (64 // n)) % length for i in range(n)]
    assert max(starts) < max(1, length - 64)


def test_dense_training_with_consecutive_frames_is_one_window_without_gaps():
  sample = sampling.sampler("dense", 4, consecutive=3)
  for length in range(13, 101):
    clip = sample(length, np.random.default_rng(length))[0]
    assert clip.tolist() == list(range(clip[0], clip[0] + 12)) and clip[0] < length - 12


@pytest.mark.parametrize("d, window", [(1, 64), (3, 24)])
def test_dense_evaluation_spreads_ten_starts(d, window):
  sample = sampling.sampler("dense", 8, consecutive=d, clips=10)
  for length in range(1, 201):
    starts = sample(length, None)[:, 0]
    room = max(0, length - window)
    assert starts.tolist() == [math.floor(i * room / 9 + 1e-9) for i in range(10)]


def test_one_dense_clip_is_the_middle_one():
  assert sampling.sampler("dense", 8)(100, None)[0, 0] == 18


def test_consecutive_frames_start_anywhere_and_repeat_the_last():
  sample = sampling.sampler("consecutive", 5)
  assert sample(3, None).tolist() == [[0, 1, 2, 2, 2]]
  assert sample(9, None).tolist() == [[2, 3, 4, 5, 6]]
  starts = {int(sample(9, np.random.default_rng(s))[0, 0]) for s in range(100)}
  assert starts == {0, 1, 2, 3, 4}


def test_a_fixed_stride_is_kept_and_short_videos_loop():
  sample = sampling.sampler("stride", 4, stride=3)
  assert sample(20, None).tolist() == [[5, 8, 11, 14]]
  assert sample(4, None).tolist() == [[0, 3, 2, 1]]
  assert {int(sample(12, np.random.default_rng(s))[0, 0]) for s in range(50)} == {0, 1, 2}
  assert sampling.sampler("stride", 4, stride=3, clips=3)(20, None)[:, 0].tolist() == [0, 5, 10]


def test_non_overlapping_clips_cover_the_video():
  for length in LENGTHS:
    clips = sampling.non_overlapping(length, None, frames=4, stride=2)
    assert len(clips) == math.ceil(length / 8)
    whole = clips[:length // 8].ravel().tolist()
    assert whole == [i for i in range(0, length // 8 * 8, 2)]
  assert sampling.sampler("non_overlapping", 4, clips=5)(8, None)[:, 0].tolist() == [0, 4, 0, 4, 0]


def test_uniform_clips_are_centred_in_equal_parts():
  clips = sampling.sampler("uniform_clips", 4, clips=3)(30, None)
  assert clips.tolist() == [[3, 4, 5, 6], [13, 14, 15, 16], [23, 24, 25, 26]]


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_stays_inside_the_video_and_repeats_itself(name):
  rng = np.random.default_rng(1)
  for frames, consecutive, stride, clips in [(1, 1, 1, 1), (8, 1, 1, 2), (8, 3, 1, 1), (4, 2, 5, 3), (70, 1, 2, 10)]:
    sample = sampling.sampler(name, frames, consecutive, stride, clips)
    views = clips * (2 if name == "twice" else 1)
    for length in LENGTHS:
      train, first, second = sample(length, rng), sample(length, None), sample(length, None)
      assert train.shape == (1, frames * consecutive) and first.shape == (views, frames * consecutive)
      assert train.dtype == first.dtype == np.int64
      if name != "centre":
        assert min(train.min(), first.min()) >= 0 and max(train.max(), first.max()) < length
      np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_frames_come_in_order_where_the_video_is_long_enough(name):
  for length in range(64, 101):
    for rng in (None, np.random.default_rng(length)):
      assert np.all(np.diff(sampling.sampler(name, 8, 2, 2, 3)(length, rng), axis=1) >= 0) or name == "non_overlapping"


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_gives_the_same_clip(name):
  sample = sampling.sampler(name, 8)
  for length in LENGTHS:
    np.testing.assert_array_equal(sample(length, np.random.default_rng(5)), sample(length, np.random.default_rng(5)))


def test_an_unknown_name_is_answered_with_the_nearest():
  with pytest.raises(errors.ConfigError, match="nearest: 'uniform'"):
    sampling.sampler("unifrom", 8)
  with pytest.raises(errors.ConfigError, match="data.frames=0"):
    sampling.sampler("uniform", 0)


def test_importing_it_loads_no_decoder_and_no_jax():
  code = "import sys, vidx.data.sampling; print([m for m in ('cv2', 'av', 'jax') if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


def test_segments_reach_the_whole_video_however_short_it_is():
  sample = sampling.sampler("segments", 25)
  assert sample(25)[0].tolist() == list(range(25))
  assert sample(100)[0].tolist() == list(range(2, 100, 4))
  assert sample(10)[0].tolist() == [(2 * k + 1) * 10 // 50 for k in range(25)]
  for length in LENGTHS:
    middle, drawn = sample(length)[0], sample(length, np.random.default_rng(length))[0]
    assert np.all(np.diff(drawn) >= 0) and drawn[0] >= 0 and drawn[-1] < length
    edges = np.arange(26) * length / 25
    for found in (middle, drawn):
      assert np.all(np.floor(edges[:-1]) <= found) and np.all(found < edges[1:])
  assert sampling.sampler("segments", 2, clips=2)(8).tolist() == [[2, 6], [0, 4]]
  assert sampling.sampler("segments", 2, consecutive=3)(4).tolist() == [[1, 2, 3, 3, 3, 3]]


def test_a_clip_around_the_centre_reaches_beyond_short_spans():
  clip = sampling.sampler("centre", 4, stride=2)(3, None)
  assert clip.tolist() == [[-2, 0, 2, 4]]
  long = sampling.sampler("centre", 4, stride=2)(100, None)
  assert long.tolist() == [[47, 49, 51, 53]]
  two = sampling.sampler("centre", 2, clips=2)(8, None)
  assert two.tolist() == [[1, 2], [5, 6]]
  rng = np.random.default_rng(0)
  starts = {int(sampling.sampler("centre", 1)(5, rng)[0, 0]) for _ in range(100)}
  assert starts == set(range(5))
