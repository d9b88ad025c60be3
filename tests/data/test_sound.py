import numpy as np
import pytest

from tests.data import sounds, videos
from vidx import errors
from vidx.data import decode, sound


def pitch(samples, rate=16000):
  """Hz of the loudest frequency."""
  spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
  return spectrum.argmax() * rate / len(samples)


@pytest.mark.parametrize("name, rate, layout, channels", [
    ("mono.wav", 16000, "mono", 1), ("telephone.wav", 8000, "mono", 1), ("cd.wav", 44100, "stereo", 2),
    ("studio.wav", 96000, "5.1", 6), ("odd.wav", 11025, "mono", 1), ("pcm.mkv", 48000, "stereo", 2),
])
def test_any_rate_and_any_channels_become_16_khz_and_their_mean(tmp_path, name, rate, layout, channels):
  path = tmp_path / name
  wave = sounds.tones(2.0, rate, channels)
  sounds.write(path, wave, rate, layout)
  got = sound.read(str(path))
  assert got.dtype == np.float32 and abs(len(got) - 32000) < 10
  expected = sounds.tones(2.0, 16000, channels).mean(0)
  middle = slice(2000, 30000)
  np.testing.assert_allclose(got[middle], expected[middle], atol=0.01)


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".avi"])
def test_sound_beside_pictures_is_that_of_the_tone(tmp_path, ending):
  path = tmp_path / f"clip{ending}"
  rate = 48000 if ending == ".webm" else 44100
  sounds.write(path, sounds.tones(2.0, rate), rate, frames=sounds.clip())
  got = sound.read(str(path), 0.5, 1.5, 0.0)
  assert got.shape == (16000,) and abs(pitch(got) - 440) < 2 and 0.18 < got.std() < 0.24
  with decode.open_video(str(path)) as video:
    np.testing.assert_allclose(video.audio(16000, 0.5, 1.5)[2000:-2000].std(), 0.212, atol=0.02)


@pytest.mark.parametrize("ending", [".wav", ".mkv"])
def test_a_span_is_that_part_of_the_whole_wherever_decoding_starts(tmp_path, ending):
  path = tmp_path / f"long{ending}"
  rng = np.random.default_rng(0)
  sounds.write(path, rng.normal(0, 0.1, (1, 16000 * 8)).astype("f"), 16000)
  whole = sound.read(str(path))
  for start, end in ((0.0, 1.0), (1.5, 2.0), (6.25, 7.5)):
    np.testing.assert_allclose(sound.read(str(path), start, end), whole[round(start * 16000):round(end * 16000)],
                               atol=1e-6)


@pytest.mark.parametrize("ending", [".mkv", ".mp4", ".webm"])
@pytest.mark.parametrize("pictures", [False, True])
def test_without_an_origin_seconds_count_from_where_the_sound_begins(tmp_path, ending, pictures):
  path = tmp_path / f"late{ending}"
  sounds.write(path, sounds.tones(1.0, 48000), 48000, frames=sounds.clip() if pictures else None, late=0.7)
  assert sound.read(str(path), 0.0, 0.2).std() > 0.15
  assert not sound.read(str(path), 0.0, 1.0, 0.0)[:10000].any()


def test_what_lies_beyond_the_sound_is_silence(tmp_path):
  path = tmp_path / "short.wav"
  sounds.write(path, sounds.tones(1.0, 16000), 16000)
  got = sound.read(str(path), 0.5, 2.5)
  assert got.shape == (32000,) and got[:7900].std() > 0.2 and not got[8010:].any()
  before = sound.read(str(path), -0.5, 0.5)
  assert before.shape == (16000,) and not before[:7990].any() and before[8100:].std() > 0.2


def test_no_sound_is_told_from_sound_that_ended_and_both_from_no_file(tmp_path):
  path = tmp_path / "short.wav"
  sounds.write(path, sounds.tones(1.0, 16000), 16000)
  with pytest.raises(sound.NoSound, match="no sound from 3.00 to 4.00 s"):
    sound.read(str(path), 3.0, 4.0)
  silent = tmp_path / "silent.mp4"
  videos.write(silent, sounds.clip(10))
  with pytest.raises(sound.NoSound, match="it has no sound"):
    sound.read(str(silent))
  with decode.open_video(str(silent)) as video:
    assert video.audio().shape == (0,)
  with pytest.raises(errors.DecodeError, match="no such file"):
    sound.read(str(tmp_path / "none.wav"))
  assert sound.duration(str(path)) == pytest.approx(1.0)
  (tmp_path / "text.wav").write_text("no sound at all")
  with pytest.raises(errors.DecodeError, match="cannot be decoded"):
    sound.read(str(tmp_path / "text.wav"))


def test_damage_inside_the_span_is_an_error_and_outside_of_it_none(tmp_path):
  path = tmp_path / "damaged.mp4"
  sounds.write(path, sounds.tones(4.0, 44100), 44100, frames=sounds.clip(100))
  sounds.damage(path)
  assert abs(pitch(sound.read(str(path), 0.2, 1.2, 0.0)) - 440) < 2
  with pytest.raises(errors.DecodeError, match="its sound cannot be decoded"):
    sound.read(str(path), 2.5, 3.5, 0.0)


def test_bytes_are_read_as_files_are(tmp_path):
  path = tmp_path / "a.wav"
  sounds.write(path, sounds.tones(1.0, 16000), 16000)
  np.testing.assert_array_equal(sound.read(path.read_bytes()), sound.read(str(path)))


def test_real_sound_of_a_clip_and_of_a_file_agree(real_data):
  a, b = (sound.read(str(real_data(f"sample_clips/test.{ending}"))) for ending in ("avi", "wav"))
  assert len(a) == len(b) == 104_908
  assert np.corrcoef(a[2000:-4000], b[2000:-4000])[0, 1] > 0.9
