import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import clips as clips_lib, sampling
from vidx.data.records import Media, Record


def record(tmp_path, **fields):
  return Record("v", Media(str(tiny.write_video(tmp_path / "v.mp4", frames=20, seed=3))), **fields)


def test_a_training_clip_is_uint8_of_the_configured_shape(tmp_path):
  clip = clips_lib.Clips(tiny.data_config()).train(record(tmp_path), np.random.default_rng(0))
  assert clip.shape == (4, 32, 32, 3) and clip.dtype == np.uint8


def test_the_same_generator_gives_the_same_clip(tmp_path):
  clips, one = clips_lib.Clips(tiny.data_config()), record(tmp_path)
  np.testing.assert_array_equal(clips.train(one, np.random.default_rng(5)), clips.train(one, np.random.default_rng(5)))


@pytest.mark.parametrize("clips, crops", [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_views_are_clips_times_crops(tmp_path, clips, crops):
  loader = clips_lib.Clips(tiny.data_config(), clips, crops)
  views = loader.evaluate(record(tmp_path))
  assert views.shape == loader.eval_shape == (clips * crops, 4, 32, 32, 3)


def test_evaluation_may_see_whole_frames(tmp_path):
  loader = clips_lib.Clips(tiny.data_config(whole=(24, 40)), 3)
  views = loader.evaluate(record(tmp_path))
  assert views.shape == loader.eval_shape == (3, 4, 24, 40, 3)
  crops = clips_lib.Clips(tiny.data_config(short_side=24, crop=24), 3).evaluate(record(tmp_path))
  assert abs(views.mean() - crops.mean()) < 30 and views[0, 0].std() > 0
  with pytest.raises(errors.ConfigError, match="data.whole"):
    clips_lib.Clips(tiny.data_config(whole=(24, 40)), 1, 3).evaluate(record(tmp_path))


def test_views_of_one_clip_stand_together(tmp_path):
  views = clips_lib.Clips(tiny.data_config(), 2, 3).evaluate(record(tmp_path))
  for clip in range(2):
    alone = clips_lib.Clips(tiny.data_config(), 2, 1).evaluate(record(tmp_path))[clip]
    centre = [np.array_equal(view, alone) for view in views[3 * clip:3 * clip + 3]]
    assert any(centre)


def test_consecutive_frames_lie_flat_along_time(tmp_path):
  loader = clips_lib.Clips(tiny.data_config(sampler="consecutive", consecutive=3))
  assert loader.train(record(tmp_path), np.random.default_rng(0)).shape == (12, 32, 32, 3)


def test_a_frame_folder_is_a_video_too(tmp_path):
  media = Media(str(tiny.write_frames(tmp_path / "frames")), "frames", pattern="{:05d}.jpg")
  views = clips_lib.Clips(tiny.data_config()).evaluate(Record("f", media))
  assert views.shape == (1, 4, 32, 32, 3) and views.max() > 200


def test_a_span_shows_only_its_own_frames(tmp_path):
  seen = []

  class Recorder:
    def __init__(self, video):
      self.video = video

    def __enter__(self):
      self.video.__enter__()
      return self

    def __exit__(self, *exc):
      return self.video.__exit__(*exc)

    def __getattr__(self, name):
      return getattr(self.video, name)

    def frames(self, indices, **options):
      seen.extend(indices)
      return self.video.frames(indices, **options)

  loader, whole = clips_lib.Clips(tiny.data_config()), clips_lib.open_media
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(clips_lib, "open_media", lambda *a: Recorder(whole(*a)))
    loader.evaluate(record(tmp_path, span=(0.2, 0.4)))  # frames 5 to 9 at 25 per second
  assert seen and min(seen) >= 5 and max(seen) <= 9


@pytest.mark.parametrize("span, frames", [
    (None, (0, 10)), ((0.0, 1.0), (0, 10)), ((0.2, 0.5), (2, 5)), ((0.25, 0.26), (2, 3)),
    ((0.95, 3.0), (9, 10)), ((-1.0, -0.5), (0, 1)),
])
def test_spans_in_seconds_become_frames(span, frames):
  assert clips_lib.frame_range(np.arange(10) / 10, span) == frames


def test_a_span_behind_the_end_is_an_error():
  with pytest.raises(errors.DecodeError, match="after the video's end"):
    clips_lib.frame_range(np.arange(10) / 10, (5.0, 6.0))


def test_a_broken_file_is_a_decode_error_with_its_name(tmp_path):
  path = tmp_path / "text.mp4"
  path.write_text("not a video")
  with pytest.raises(errors.DecodeError, match="text.mp4"):
    clips_lib.Clips(tiny.data_config()).evaluate(Record("t", Media(str(path))))


def test_a_rate_shows_the_frames_on_the_screen_at_that_rate(tmp_path):
  one = record(tmp_path)  # 20 frames, 25 per second
  numbers = lambda **change: clips_lib.Clips(tiny.data_config(sampler="stride", frames=4, **change)).cut(one).indices
  np.testing.assert_array_equal(numbers(rate=25.0), numbers())
  assert numbers(rate=12.5).tolist() == [[7, 9, 11, 13]]
  assert numbers(rate=50.0).tolist() == [[9, 9, 10, 10]]
  with pytest.raises(errors.ConfigError, match="data.rate"):
    numbers(rate=-1.0)


def test_a_clip_around_the_centre_of_a_span_shows_what_is_beside_it(tmp_path):
  one = record(tmp_path, span=(0.4, 0.44))  # frame 10
  cut = lambda **change: clips_lib.Clips(tiny.data_config(sampler="centre", **change), timed=True).cut(one)
  assert cut(frames=4, stride=2).indices.tolist() == [[7, 9, 11, 13]]
  assert cut(frames=4, stride=8).indices.tolist() == [[0, 6, 14, 19]]
  np.testing.assert_allclose(cut(frames=4, stride=2).seconds, [[0.28, 0.36, 0.44, 0.52]], atol=1e-6)


def test_training_may_see_whole_frames_too(tmp_path):
  loader = clips_lib.Clips(tiny.data_config(whole=(24, 40), crop_mode="whole"))
  cut = loader.cut(record(tmp_path), np.random.default_rng(0))
  assert cut.frames.shape == loader.train_shape == (4, 24, 40, 3)
  assert (cut.geometry[0].height, cut.geometry[0].width) == (24, 40) and abs(cut.geometry[0].scale[1]) == 40


def test_all_clips_of_a_video_are_as_many_as_it_has(tmp_path):
  loader = clips_lib.Clips(tiny.data_config(sampler="non_overlapping", frames=6), 0, 3)
  cut = loader.cut(record(tmp_path))
  assert cut.frames.shape[0] == 4 * 3 and loader.eval_shape[0] == 3 and len(cut.geometry) == 3
  with pytest.raises(errors.ConfigError, match="data.clips=0"):
    clips_lib.Clips(tiny.data_config(), 0).cut(record(tmp_path))


@pytest.mark.parametrize("sampler, crops", [("uniform", 1), ("non_overlapping", 3)])
@pytest.mark.parametrize("change, message", [
    (dict(frames=0), "data.frames=0: write a number from 1 on"), (dict(consecutive=0), "data.consecutive=0"),
    (dict(crop=0), "data.crop=0"), (dict(crop=-4), "data.crop=-4"), (dict(short_side=0), "data.short_side=0"),
    (dict(test_crop=-1), "data.test_crop=-1"), (dict(threads=-1), "data.threads=-1"), (dict(stride=0), "data.stride=0"),
    (dict(flow_stride=0), "data.flow_stride=0"), (dict(scales=()), r"data.scales=\(\)"),
    (dict(scales=(1.0, 0.0)), r"data.scales=\(1.0, 0.0\)"), (dict(scales=(1.2,)), r"data.scales=\(1.2,\)"),
    (dict(crop_mode="whole"), "data.crop_mode='whole'"),
    (dict(crop_mode="whole", whole=(0, 8)), "data.crop_mode='whole'"),
])
def test_numbers_of_which_there_are_no_clips_are_one_clear_line(tmp_path, sampler, crops, change, message):
  with pytest.raises(errors.ConfigError, match=message):
    clips_lib.Clips(tiny.data_config(sampler=sampler, **change), 1, crops).train(record(tmp_path),
                                                                                np.random.default_rng(0))


@pytest.mark.parametrize("sampler", sampling.SAMPLERS)
def test_a_stride_is_refused_where_nothing_is_made_of_it(tmp_path, sampler):
  one, far = record(tmp_path), tiny.data_config(sampler=sampler, stride=3)
  try:
    found = clips_lib.Clips(far).cut(one).indices
  except errors.ConfigError as e:
    assert f"data.stride=3: data.sampler='{sampler}' has no stride" in str(e) and sampler not in sampling.STRIDED
  else:
    near = clips_lib.Clips(tiny.data_config(sampler=sampler)).cut(one).indices
    assert sampler in sampling.STRIDED and (found != near).any()


@pytest.mark.parametrize("consecutive", [1, 2, 3])
def test_a_clip_that_a_plan_asks_for_has_its_consecutive_frames(tmp_path, consecutive):
  loader = clips_lib.Clips(tiny.data_config(sampler="stride", frames=2, stride=4, consecutive=consecutive))
  for first, end in ((5, 14), (5, 7), (18, 20), (0, 20)):
    for seed in range(5):
      cut = loader.cut(record(tmp_path), np.random.default_rng(seed), (), (first, end))
      starts = cut.indices[0, ::consecutive]
      assert cut.frames.shape == loader.train_shape and np.diff(starts).tolist() == [4]
      np.testing.assert_array_equal(cut.indices[0], (starts[:, None] + np.arange(consecutive)).reshape(-1))
      inside = (cut.indices >= first) & (cut.indices < end)
      assert inside.all() or end - first < 4 + consecutive
  with pytest.raises(errors.ConfigError, match="data.rate=5"):
    clips_lib.Clips(tiny.data_config(rate=5.0)).cut(record(tmp_path), np.random.default_rng(0), (), (0, 9))
