from ml_collections import ConfigDict
import numpy as np
import pytest

from vidx import errors
from vidx.data import clips, transforms
from vidx.data.geometry import to_frame


MODES = [m for m in transforms.CROP_MODES if m != "whole"]


def data(**fields):
  base = dict(flow="", whole=(), sizes=(), frames=2, consecutive=1, short_side=48, jitter=(), crop=32, test_crop=0,
              crop_mode="multiscale", scales=(1, 0.875, 0.75, 0.66), flip=True, colour_jitter=0.0,
              only_enlarge=False)
  return ConfigDict({**base, **fields})


def coordinates(t=3, h=60, w=90):
  """Pixels that say where they are: red is x, green is y, blue is constant over time too."""
  clip = np.zeros((t, h, w, 3), np.uint8)
  clip[..., 0], clip[..., 1], clip[..., 2] = np.arange(w), np.arange(h)[:, None], 7
  return clip


def cut(frames, place, size):
  return transforms.resize(transforms.crop(frames, *place), size, size)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(48, 48), (60, 90), (90, 60), (300, 49), (7, 5)])
@pytest.mark.parametrize("jitter", [(), (40, 70)])
def test_training_clips_have_the_crop_s_shape_and_equal_frames(mode, size, jitter):
  transform = transforms.train_transform(data(crop_mode=mode, jitter=jitter, colour_jitter=0.4))
  clip = np.repeat(np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8), 4, 0)
  for seed in range(5):
    out, _ = transform(clip, np.random.default_rng(seed))
    assert out.shape == (4, 32, 32, 3) and out.dtype == np.uint8 and out.flags.c_contiguous
    assert (out == out[:1]).all()


@pytest.mark.parametrize("mode", MODES)
def test_the_same_generator_gives_the_same_clip(mode):
  transform = transforms.train_transform(data(crop_mode=mode, colour_jitter=0.2))
  clip = coordinates()
  (first, place), (second, again) = (transform(clip, np.random.default_rng(3)) for _ in range(2))
  np.testing.assert_array_equal(first, second)
  assert place == again


def test_multi_scale_crops_have_13_places_inside_the_frame():
  places = transforms.multiscale_positions(90, 60, 40, 30)
  assert len(set(places)) == 13
  assert set(places[:5]) == {(0, 0), (48, 0), (0, 28), (48, 28), (24, 14)}
  for x, y in places:
    assert 0 <= x <= 90 - 40 and 0 <= y <= 60 - 30


def test_multi_scale_crops_use_neighbouring_scales_and_every_place():
  seen, clip = set(), coordinates(1, 60, 90)
  for seed in range(600):
    out = cut(clip, transforms.multiscale_place(60, 90, 60, np.random.default_rng(seed), (1, 0.5)), 60)[0]
    seen.add((round(int(out[0, 0, 0]) / 3), round(int(out[0, 0, 1]) / 3)))
  corners = {(0, 0), (10, 0), (20, 0), (0, 9), (0, 5), (15, 0)}
  assert corners <= seen


def test_corner_crops_are_at_one_of_five_places_and_at_each_of_them():
  transform = transforms.train_transform(data(crop_mode="corners", short_side=60, flip=False))
  clip = coordinates(2, 60, 90)
  seen = {tuple(int(v) for v in transform(clip, np.random.default_rng(seed))[0][0, 0, 0, :2]) for seed in range(60)}
  assert seen == {(0, 0), (58, 0), (0, 28), (58, 28), (29, 14)}


@pytest.mark.parametrize("h, w, shown", [(60, 90, (60, 90)), (30, 60, (48, 96))])
def test_larger_frames_may_stay_as_they_are_and_smaller_ones_grow(h, w, shown):
  fields = dict(only_enlarge=True, short_side=48, crop_mode="corners", flip=False)
  transform, clip = transforms.train_transform(data(**fields)), coordinates(1, h, w)
  places = [transform(clip, np.random.default_rng(s))[1].offset for s in range(40)]
  assert min(y for y, _ in places) == 32 - shown[0] and min(x for _, x in places) == 32 - shown[1]
  _, (geometry,) = transforms.eval_transform(data(**fields))(clip)
  assert geometry.offset == ((32 - shown[0]) / 2, (32 - shown[1]) / 2)


def test_flip_mirrors_half_of_the_clips_and_none_when_off():
  clip = coordinates(1, 48, 48)
  for on in (True, False):
    transform = transforms.train_transform(data(crop_mode="centre", flip=on))
    mirrored = [int(o[0, 0, 0, 0]) > int(o[0, 0, -1, 0]) for o in
                (transform(clip, np.random.default_rng(s))[0] for s in range(100))]
    assert (30 < sum(mirrored) < 70) if on else not any(mirrored)


@pytest.mark.parametrize("h, w", [(48, 96), (96, 48)])
def test_three_crops_lie_along_the_long_side(h, w):
  crops, _ = transforms.eval_transform(data(crop=48), crops=3)(coordinates(2, h, w))
  assert crops.shape == (3, 2, 48, 48, 3)
  axis = 0 if w > h else 1
  assert crops[:, 0, 0, 0, axis].tolist() == [0, 24, 48]
  assert crops[:, 0, 0, 0, 1 - axis].tolist() == [0, 0, 0]


def test_five_crops_are_the_corners_and_the_centre():
  crops, _ = transforms.eval_transform(data(), crops=5)(coordinates(2, 48, 64))
  assert crops[:, 0, 0, 0, :2].tolist() == [[0, 0], [32, 0], [0, 16], [32, 16], [16, 8]]


def test_evaluation_may_see_larger_crops_than_training():
  one = data(crop=32, test_crop=48)
  crops, _ = transforms.eval_transform(one, crops=3)(coordinates(2, 48, 64))
  assert crops.shape[:4] == (3, 2, 48, 48)
  assert transforms.train_transform(one)(coordinates(2, 48, 64), np.random.default_rng(0))[0].shape[1:3] == (32, 32)
  assert clips.eval_clip_shape(one)[1:3] == (48, 48) and clips.clip_shape(one)[1:3] == (32, 32)
  with pytest.raises(errors.ConfigError, match="data.test_crop=64 is larger than data.short_side=48"):
    transforms.eval_transform(data(test_crop=64))


def test_one_crop_is_the_centre():
  out, _ = transforms.eval_transform(data())(coordinates(2, 48, 64))
  assert out.shape == (1, 2, 32, 32, 3) and out[0, 0, 0, 0, :2].tolist() == [16, 8]


def test_resizing_keeps_shape_and_mean():
  clip = np.random.default_rng(0).integers(0, 256, (2, 120, 161, 3), np.uint8)
  out = transforms.resize_short_side(clip, 40)
  assert out.shape == (2, 40, 54, 3) and abs(float(out.mean()) - float(clip.mean())) < 1
  assert transforms.resize_short_side(clip, 120) is clip


def test_random_resized_crops_stay_in_range_of_area_and_shape():
  clip = coordinates(1, 200, 200)
  for seed in range(100):
    out = cut(clip, transforms.random_resized_place(200, 200, np.random.default_rng(seed)), 100)[0].astype(int)
    width, height = out[0, -1, 0] - out[0, 0, 0] + 1, out[-1, 0, 1] - out[0, 0, 1] + 1
    assert 0.06 < width * height / 200 / 200 <= 1.0 and 0.7 < width / height < 1.43


def test_a_random_resized_crop_of_a_thin_frame_falls_back_to_its_middle():
  out = cut(coordinates(1, 10, 250), transforms.random_resized_place(10, 250, np.random.default_rng(0)), 8)
  assert out.shape == (1, 8, 8, 3) and 115 < out[..., 0].mean() < 135


def test_colour_jitter_without_strength_changes_nothing_and_stays_in_range():
  clip = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), np.uint8)
  np.testing.assert_allclose(transforms.colour_jitter(clip, 0.0, np.random.default_rng(0)), clip, atol=1)
  grey = np.full((1, 8, 8, 3), 100, np.uint8)
  seen = [int(transforms.colour_jitter(grey, 0.5, np.random.default_rng(s)).mean()) for s in range(50)]
  assert min(seen) >= 49 and max(seen) <= 151 and np.ptp(seen) > 50


@pytest.mark.parametrize("mode", transforms.CROP_MODES)
def test_the_geometry_says_where_every_pixel_came_from(mode):
  clip = coordinates(1, 200, 250)
  whole = (100, 120) if mode == "whole" else ()
  transform = transforms.train_transform(data(crop_mode=mode, short_side=150, crop=100, whole=whole))
  for seed in range(20):
    out, geometry = transform(clip, np.random.default_rng(seed))
    assert out.shape[1:3] == (geometry.height, geometry.width)
    y, x = 70, 30
    at = to_frame(np.array([x, y, x + 1, y + 1]), geometry)  # the pixel's box in the frame
    red, green = (at[0] + at[2]) / 2 * 250 - 0.5, (at[1] + at[3]) / 2 * 200 - 0.5
    assert abs(out[0, y, x, 0] - red) < 1.5 and abs(out[0, y, x, 1] - green) < 1.5
    assert geometry.flipped == (int(out[0, 0, 0, 0]) > int(out[0, 0, -1, 0]))


@pytest.mark.parametrize("crops", [1, 3, 5])
def test_every_view_has_a_geometry(crops):
  views, geometry = transforms.eval_transform(data(), crops)(coordinates(1, 96, 160))
  assert len(geometry) == crops
  for view, place in zip(views, geometry):
    corner = to_frame(np.array([0.0, 0.0, 1.0, 1.0]), place)
    assert abs(corner[[0, 2]].mean() * 160 - 0.5 - view[0, 0, 0, 0]) < 1.5
    assert abs(corner[[1, 3]].mean() * 96 - 0.5 - view[0, 0, 0, 1]) < 1.5


def test_impossible_settings_are_named():
  with pytest.raises(errors.ConfigError, match="data.whole"):
    transforms.train_transform(data(crop_mode="whole"))
  with pytest.raises(errors.ConfigError, match="nearest: 'multiscale'"):
    transforms.train_transform(data(crop_mode="multi_scale"))
  with pytest.raises(errors.ConfigError, match="data.crop=64 is larger than data.short_side=48"):
    transforms.eval_transform(data(crop=64))
  with pytest.raises(errors.ConfigError, match="data.jitter"):
    transforms.train_transform(data(jitter=(70, 40)))
  with pytest.raises(errors.ConfigError, match="4 crops"):
    transforms.eval_transform(data(), crops=4)
