import numpy as np
import pytest

from tests.data import sounds, videos
from vidx import errors
from vidx.data import batch as batch_lib, clips, examples, parts, pipeline, sound, spectrogram
from vidx.data.parts import audio
from vidx.data.records import Dataset, Media, Record, media_of
from vidx.nn.log_mel import pick_rows
from vidx.train import config

WANTED = ("video", "audio", "audio_neg", "audio_valid")
KINDS = ("with.mp4", "without.mp4", "short.mp4", "telephone.avi", "silence.mp4", "damaged.mp4")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """Four seconds of pictures each; short.mp4 has one second of sound, damaged.mp4 none that can be used in its end."""
  root = tmp_path_factory.mktemp("sounds")
  frames = sounds.clip(100)
  for name in ("with.mp4", "damaged.mp4"):
    sounds.write(root / name, sounds.tones(4.0, 44100), 44100, frames=frames)
  sounds.damage(root / "damaged.mp4", 0.1)
  videos.write(root / "without.mp4", frames, rate=25)
  sounds.write(root / "short.mp4", sounds.tones(1.0, 44100), 44100, frames=frames)
  sounds.write(root / "telephone.avi", sounds.tones(4.0, 8000), 8000, frames=frames, codec="pcm_s16le")
  sounds.write(root / "silence.mp4", 0 * sounds.tones(4.0, 44100), 44100, frames=frames)
  sounds.write(root / "digit.wav", sounds.tones(0.5, 8000), 8000)
  sounds.write(root / "studio.wav", sounds.tones(3.0, 96000, 6), 96000, "5.1")
  return root


def dataset(root, names):
  return Dataset("none", "train", tuple(Record(n, media_of(str(root / n)), i % 2) for i, n in enumerate(names)),
                 ("a", "b"))


def settings(**fields):
  data = config.base().data
  data.update(frames=8, stride=4, sampler="stride", short_side=32, crop=32, crop_mode="random", flip=False, workers=0)
  data.audio.update(rows=32, mels=20)
  data.audio.update(fields)
  return data


def evaluated(root, names, clips=1, crops=1, wanted=WANTED, **fields):
  made = examples.make(dataset(root, names), settings(**fields), training=False, wanted=wanted, clips=clips,
                       crops=crops)
  return [made.evaluate(i, 0) for i in range(len(names))]


def test_a_clip_has_the_sound_of_its_own_time(root):
  [found] = evaluated(root, ["with.mp4"])
  # 8 frames at a stride of 4 and 25 frames per second: 1.28 s from the one in the middle of 100 frames on.
  first = (100 - 32 + 3) // 2
  for start in np.arange(first - 3, first + 4) / 25:
    waveform = sound.read(str(root / "with.mp4"), start, start + 1.28, 0.0)
    expected = (pick_rows(spectrogram.log_mel(waveform, 20), 32) + 7.03) / 4.66
    if np.allclose(found["audio"][0, :, :, 0], expected, atol=0.05):
      break
  else:
    raise AssertionError("the spectrogram is of no clip around the middle")
  assert found["audio"].shape == (1, 32, 20, 1) and found["audio_valid"].tolist() == [1.0]


def test_views_share_the_sound_of_their_clip(root):
  [found] = evaluated(root, ["short.mp4"], clips=3, crops=3)
  assert found["video"].shape[0] == 9 and found["audio"].shape == (9, 32, 20, 1)
  for clip in range(3):
    own = found["audio"][3 * clip:3 * clip + 3]
    assert (own == own[:1]).all()
  assert not np.allclose(found["audio"][0], found["audio"][3])
  assert found["audio_valid"].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0]  # the sound ends after a second


@pytest.mark.parametrize("name, valid", list(zip(KINDS, (1, 0, 1, 1, 1, -1))))
def test_bad_sound_is_masked_and_none_is_a_wrong_spectrogram(root, name, valid):
  made = examples.make(dataset(root, [name]), settings(seconds=3.0), training=False, wanted=WANTED)
  found = made.evaluate(0, 0)
  assert found["audio_valid"] == [valid] and np.isfinite(found["audio"]).all()
  heard = found["audio"][0, :, :, 0]
  if valid <= 0:
    assert not heard.any() and not found["audio_neg"].any() or name == "without.mp4"
  if name == "short.mp4":
    assert heard[2].max() > 1 and np.allclose(heard[-5:], (-18.42 + 7.03) / 4.66, atol=0.01)
  if name == "silence.mp4":
    np.testing.assert_allclose(heard, (-18.42 + 7.03) / 4.66, atol=0.3)
  if name == "telephone.avi":
    assert heard[:, -3:].max() < heard.max() - 2  # 8 kHz hold nothing above 4 kHz


def test_batches_hold_it_and_a_video_without_sound_is_no_failure(root):
  data = settings()
  with pipeline.train_batches(dataset(root, KINDS), data, batch_size=6, seed=0, wanted=WANTED) as batches:
    batch = next(batches)
    assert not batches.failures
  valid = dict(zip(batch["id"], batch["audio_valid"].tolist()))
  assert valid["with.mp4"] == valid["telephone.avi"] == valid["silence.mp4"] == 1 and valid["without.mp4"] == 0
  batch_lib.validate({k: v for k, v in batch.items()})
  assert batch["audio"].shape == batch["audio_neg"].shape == (6, 32, 20, 1)


@pytest.mark.parametrize("frames", [7, 20, 25, 31, 40, 50, 62, 64, 90])
@pytest.mark.parametrize("sampler", ["stride", "non_overlapping", "centre", "segments"])
def test_a_clip_of_a_short_video_hears_all_that_it_shows(sampler, frames, tmp_path):
  videos.write(tmp_path / "a.mp4", sounds.clip(frames), rate=25)
  data = settings()
  data.update(frames=32, stride=1 if sampler == "segments" else 2, sampler=sampler)
  made = clips.Clips(data, clips=2, timed=True)
  cut = made.cut(Record("a", media_of(str(tmp_path / "a.mp4")), 0))
  for seconds, indices in zip(cut.seconds, cut.indices, strict=True):
    start, end = audio.span_of(seconds)
    assert start == pytest.approx(indices.min() / 25) and end > indices.max() / 25
    steps = np.diff(np.unique(indices))
    assert end - start == pytest.approx((np.ptp(indices) + steps.mean()) / 25)


def test_of_a_single_moment_nothing_is_heard(root):
  assert audio.span_of(np.full(8, 1.5)) == (1.5, 1.5)
  with pytest.raises(sound.NoSound):
    sound.read(str(root / "with.mp4"), 1.5, 1.5)


@pytest.mark.parametrize("frames", [1, 2, 8])
@pytest.mark.parametrize("loud", [False, True])
def test_a_clip_of_one_frame_alone_is_heard_for_as_long_as_that_lasts(frames, loud, tmp_path):
  path = tmp_path / "a.mp4"
  if loud:
    sounds.write(path, sounds.tones(1.0, 44100), 44100, frames=sounds.clip(frames))
  else:
    videos.write(path, sounds.clip(frames), rate=25)
  data = settings()
  data.update(sampler="uniform", stride=1)  # gives the first frame throughout
  one = Dataset("none", "val", (Record("a", media_of(str(path)), 0),), ("a", "b"))
  made = examples.make(one, data, training=False, wanted=WANTED)
  assert made.evaluate(0, 0)["audio_valid"].tolist() == [float(loud)]
  cut = clips.Clips(data, timed=True).cut(one.records[0])
  assert audio.span_of(cut.seconds[0], step=cut.step) == pytest.approx((0.0, 0.04))


@pytest.mark.parametrize("late", [0.0, 0.7])
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize("beside", [False, True])
def test_of_sound_alone_a_span_is_in_the_time_of_the_video(late, ending, beside, tmp_path):
  path, rise = tmp_path / f"a.{ending}", sounds.tones(2.0, 44100) * np.linspace(0.02, 1, 88200, dtype=np.float32) ** 2
  sounds.write(path, rise, 44100, frames=sounds.clip(100), late=late)
  sounds.write(tmp_path / "a.wav", rise, 44100)
  companions = {"audio": media_of(str(tmp_path / "a.wav"))} if beside else {}
  record = Record("a", media_of(str(path)), 0, span=(1.0, 2.0), companions=companions)
  made = examples.make(Dataset("none", "val", (record,), ("a", "b")), settings(seconds=1.0), training=False,
                       wanted=("audio", "audio_valid"))
  found = made.evaluate(0, 0)
  # A file of sound counts from its own start.
  waveform = sound.read(str(tmp_path / "a.wav"), 1.0, 2.0) if beside else sound.read(str(path), 1.0, 2.0, 0.0)
  expected = (pick_rows(spectrogram.log_mel(waveform, 20), 32) + 7.03) / 4.66
  assert found["audio_valid"] == [1]
  np.testing.assert_allclose(found["audio"][0, :, :, 0], expected, atol=0.05)


@pytest.mark.parametrize("sampler, asked, views", [("twice", 1, 2), ("twice", 3, 6), ("non_overlapping", 0, 1),
                                                   ("stride", 2, 2)])
@pytest.mark.parametrize("crops", [1, 3])
def test_an_empty_place_has_as_many_views_as_a_record(root, sampler, asked, views, crops):
  data = settings()
  data.update(sampler=sampler, stride=1)
  made = examples.make(dataset(root, ["short.mp4"]), data, training=False, wanted=WANTED, clips=asked, crops=crops)
  blank = made.blank(-1, 0)
  for key in WANTED:
    assert len(blank[key]) == views * crops, key
  full = made.evaluate(0, 0)
  assert len({len(full[key]) for key in WANTED}) == 1
  with pipeline.eval_batches(dataset(root, ["with.mp4", "short.mp4", "without.mp4"]), data, batch_size=2, clips=asked,
                             crops=crops, wanted=WANTED) as batches:
    *_, last = batches
  assert last["weight"].tolist() == [1, 0] and len({last[key].shape[1] for key in WANTED}) == 1


def test_negatives_are_displaced_and_the_same_for_the_same_seed(root):
  made = examples.make(dataset(root, ["with.mp4"]), settings(), training=True, wanted=WANTED)
  one, two, other = (made.train(0, np.random.default_rng(seed), 0) for seed in (3, 3, 4))
  for key in WANTED:
    np.testing.assert_array_equal(one[key], two[key])
  assert (one["audio_neg"] != other["audio_neg"]).any() and (one["audio_neg"] != one["audio"]).any()


@pytest.mark.parametrize("span", [(0.0, 1.0), (1.2, 2.2), (3.0, 4.0)])
def test_a_displaced_span_is_inside_the_video_and_far_enough(span):
  rng = np.random.default_rng(0)
  found = np.array([audio.displaced(span, (0.0, 4.0), 0.5, rng) for _ in range(200)])
  assert (abs(found[:, 0] - span[0]) >= 0.5 - 1e-9).all() and found.min() >= 0 and found.max() <= 4 + 1e-9
  np.testing.assert_allclose(found[:, 1] - found[:, 0], 1.0)
  assert found[:, 0].std() > 0.2
  far = audio.displaced(span, (0.0, 4.0), 0.5, None)
  assert abs(far[0] - span[0]) >= abs(found[:, 0] - span[0]).max() - 1e-9


def test_without_room_the_negative_is_the_clip_from_its_middle_on(root):
  assert audio.displaced((0.0, 3.8), (0.0, 4.0), 0.5, None) is None
  [found] = evaluated(root, ["with.mp4"], seconds=3.9)
  np.testing.assert_array_equal(found["audio_neg"][0], np.roll(found["audio"][0], 16, 0))


def test_specaugment_hides_runs_of_rows_and_bands_in_training_alone(root):
  x = np.ones((30, 20, 1), np.float32)
  hidden = audio.masked(x, 5, 4, 2, np.random.default_rng(1))
  rows, bands = (hidden == 0).all(1).sum(), (hidden == 0).all(0).sum()
  assert 0 < rows <= 10 and 0 < bands <= 8 and (x == 1).all()
  plain = examples.make(dataset(root, ["with.mp4"]), settings(mask_rows=9, mask_mels=9), training=True, wanted=WANTED)
  assert (plain.train(0, np.random.default_rng(2), 0)["audio"] == 0).any(0).sum()
  assert (evaluated(root, ["with.mp4"], mask_rows=9)[0]["audio"] != 0).all()


def test_of_sound_alone_no_frame_is_decoded(root, monkeypatch):
  wanted = ("audio", "audio_valid")
  assert parts.chosen("video", wanted) == ("sound",) and parts.chosen("sound", wanted) == ("sound",)
  assert parts.chosen("video", ("video", "audio")) == ("frames", "audio")
  monkeypatch.setattr("vidx.data.clips.open_media", None)
  names = ["digit.wav", "with.mp4", "without.mp4", "studio.wav"]
  found = evaluated(root, names, clips=2, wanted=wanted, seconds=1.0)
  assert [e["audio_valid"].tolist() for e in found] == [[1, 1], [1, 1], [0, 0], [1, 1]]
  assert found[0]["audio"].shape == (2, 32, 20, 1) and "video" not in found[0]
  np.testing.assert_array_equal(found[0]["audio"][0], found[0]["audio"][1])  # shorter than a clip
  assert np.allclose(found[0]["audio"][0, 20:], (-18.42 + 7.03) / 4.66, atol=0.01)
  (root / "text.wav").write_text("nothing")
  with pytest.raises(errors.DecodeError, match="text.wav"):
    evaluated(root, ["text.wav"], wanted=wanted, seconds=1.0)


def test_what_makes_no_sense_is_one_clear_line(root):
  with pytest.raises(errors.ConfigError, match="data.audio.seconds"):
    evaluated(root, ["digit.wav"], wanted=("audio",))
  with pytest.raises(errors.ConfigError, match="data.audio.rows=0: write a number from 1 on"):
    evaluated(root, ["with.mp4"], rows=0)
  with pytest.raises(errors.ConfigError, match="data.audio.std=0: write a number above 0"):
    evaluated(root, ["with.mp4"], std=0.0)
  with pytest.raises(errors.ConfigError, match="the records of the data set are sounds"):
    parts.chosen("sound", ("video",))
  with pytest.raises(sound.NoSound):
    audio.source(Media("folder", "frames"))
