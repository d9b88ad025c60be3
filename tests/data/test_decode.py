import shutil
import subprocess
import sys

import av
import numpy as np
import pytest

from tests.data import videos
from vidx import errors
from vidx.data import decode
from vidx.data import packets, sound
from vidx.data.records import Media

COUNT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("videos")
  clip = videos.pictures(COUNT)
  for name, (codec, options) in videos.KINDS.items():
    videos.write(root / name, clip, codec, options)
  stamps = np.cumsum(np.random.default_rng(0).integers(10, 90, COUNT))
  for name in ("variable.mp4", "variable.mkv", "variable_no_b.mp4"):
    videos.write(root / name, clip, options={"g": "12", **({"bf": "0"} if "no_b" in name else {})}, stamps=stamps)
  videos.write(root / "fragments.mp4", clip, options={"g": "12"}, container={"movflags": "frag_keyframe"})
  videos.write(root / "front.mp4", clip, options={"g": "12"}, container={"movflags": "faststart"})
  videos.write(root / "odd.mp4", clip[:, :63, :95])
  videos.write(root / "sound.mp4", clip[:30], sound=True)
  videos.write(root / "single.mp4", clip[:1])
  return root


NAMES = [*videos.KINDS, "variable.mp4", "variable.mkv", "variable_no_b.mp4", "fragments.mp4", "front.mp4", "odd.mp4",
         "sound.mp4", "single.mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_any_frames_equal_those_of_a_whole_decoding(folder, name):
  truth, _ = videos.decoded(folder / name)
  rng = np.random.default_rng(1)
  with decode.open_video(folder / name) as video:
    assert video.num_frames == len(truth)
    assert (video.height, video.width) == truth.shape[1:3]
    for indices in [np.arange(len(truth)), *(rng.integers(len(truth), size=rng.integers(1, 9)) for _ in range(8))]:
      np.testing.assert_array_equal(video.frames(indices), truth[indices])


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("h264.avi",)])  # AVI stamps no frames with B-frames
def test_time_stamps_are_those_of_the_frames(folder, name):
  _, times = videos.decoded(folder / name)
  with decode.open_video(folder / name) as video:
    np.testing.assert_allclose(video.timestamps, times, atol=1e-6)
    assert np.all(np.diff(video.timestamps) > 0)


def test_an_avi_s_frames_are_evenly_spaced(folder):
  with decode.open_video(folder / "h264.avi") as video:
    np.testing.assert_allclose(video.timestamps, np.arange(COUNT) / 30, atol=1e-6)


def test_rate_and_duration_are_those_of_the_video(folder):
  for name in ("h264.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm"):
    with decode.open_video(folder / name) as video:
      assert video.fps == pytest.approx(30, rel=1e-3) and video.duration == pytest.approx(2, rel=1e-2)
  with decode.open_video(folder / "variable.mp4") as video:
    assert video.fps == pytest.approx(COUNT / video.timestamps[-1], rel=0.05)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg4_b.avi", "vp9.webm"])
def test_bytes_are_read_like_files(folder, name):
  with decode.open_video((folder / name).read_bytes()) as a, decode.open_video(str(folder / name)) as b:
    np.testing.assert_array_equal(a.frames([50, 3, 3]), b.frames([50, 3, 3]))


@pytest.mark.parametrize("name", ["h264.mp4", "h264_open.mp4", "h264.mkv", "mpeg4_b.avi"])
def test_threads_change_nothing(folder, name):
  with decode.open_video(folder / name, threads=3) as a, decode.open_video(folder / name) as b:
    np.testing.assert_array_equal(a.frames([55, 20, 7]), b.frames([55, 20, 7]))


@pytest.mark.parametrize("name", ["h264.mkv", "h264_open.mkv", "mpeg4_b.avi", "fragments.mp4", "h264.ts"])
def test_packets_that_are_not_kept_are_read_again(folder, name, monkeypatch):
  truth, _ = videos.decoded(folder / name)
  monkeypatch.setattr(packets, "_KEPT_BYTES", 100)
  monkeypatch.setattr(packets, "_KEPT_BLOCKS", 2)
  with decode.open_video(folder / name) as video:
    for indices in ([58, 1, 30], [30], [0, 59], [15]):
      np.testing.assert_array_equal(video.frames(indices), truth[indices])


@pytest.mark.parametrize("angle, turned", [
    (90, lambda x: np.rot90(x, 1, (1, 2))), (180, lambda x: np.rot90(x, 2, (1, 2))),
    (-90, lambda x: np.rot90(x, -1, (1, 2))), (0, lambda x: x)])
def test_the_display_matrix_turns_frames(tmp_path, angle, turned):
  videos.write(tmp_path / "turned.mp4", videos.pictures(6), rotation=angle)
  plain, _ = videos.decoded(tmp_path / "turned.mp4")  # as coded; encoded once more it may have other bytes
  with decode.open_video(tmp_path / "turned.mp4") as video:
    shown = video.frames(range(6))
    np.testing.assert_array_equal(shown, turned(plain))
    assert (video.height, video.width) == shown.shape[1:3]
    assert min(video.frames([0], short_side=32).shape[1:3]) == 32


def test_an_edit_list_hides_the_frames_before_its_start(tmp_path):
  videos.write(tmp_path / "whole.mp4", videos.pictures(40), options={"g": "12"})
  with av.open(str(tmp_path / "whole.mp4")) as source, av.open(str(tmp_path / "cut.mp4"), "w") as out:
    stream = out.add_stream_from_template(source.streams.video[0])
    shift = round(5 / 30 / source.streams.video[0].time_base)
    for p in source.demux(video=0):
      if p.dts is not None:
        p.pts, p.dts, p.stream = p.pts - shift, p.dts - shift, stream
        out.mux(p)
  truth, _ = videos.decoded(tmp_path / "cut.mp4")
  with decode.open_video(tmp_path / "cut.mp4") as video:
    assert video.num_frames == len(truth) == 35
    np.testing.assert_array_equal(video.frames(range(35)), truth)


def test_only_what_is_needed_is_decoded(folder, monkeypatch):
  sent = []
  original = decode.VideoReader._decoded_from

  def counted(self, *args):
    decoder = self._decoder

    class Counting:
      def __getattr__(self, name):
        return getattr(decoder, name)

      def __setattr__(self, name, value):
        setattr(decoder, name, value)

      def decode(self, packet):
        if packet is not None and str(decoder.skip_frame).upper().find("NONREF") < 0:
          sent.append(packet.pts)
        return decoder.decode(packet)

    self._decoder = Counting()
    try:
      yield from original(self, *args)
    finally:
      self._decoder = decoder

  monkeypatch.setattr(decode.VideoReader, "_decoded_from", counted)
  with decode.open_video(folder / "h264.mp4") as video:
    video.frames([26])
    assert sent == [video._index.position(26)]
    position, block = video._index.position(26), video._index.block(2)
    assert block.start == 24 and position - block.start <= 4


def test_resizing_averages_to_the_short_side(tmp_path):
  smooth = videos.pictures(3, 192, 128).astype(np.float32)
  for _ in range(6):
    smooth = sum(np.roll(smooth, shift, axis) for axis in (1, 2) for shift in (-2, 0, 2)) / 6
  videos.write(tmp_path / "a.mp4", smooth.astype(np.uint8), options={"crf": "10"})
  with decode.open_video(tmp_path / "a.mp4") as video:
    small, large = video.frames([1], short_side=32), video.frames([1])
    assert video.frames([1], short_side=200).shape == (1, 200, 300, 3)
  assert small.shape == (1, 32, 48, 3)
  assert np.abs(small - large.reshape(1, 32, 4, 48, 4, 3).mean((2, 4))).mean() < 2


def test_a_crop_is_cut_after_resizing(folder):
  with decode.open_video(folder / "h264.mp4") as video:
    whole = video.frames([9, 2], short_side=32)
    np.testing.assert_array_equal(video.frames([9, 2], short_side=32, crop=(5, 3, 25, 30)), whole[:, 3:30, 5:25])


def test_no_indices_give_no_frames(folder):
  with decode.open_video(folder / "h264.mp4") as video:
    assert video.frames([]).shape == (0, 64, 96, 3)


@pytest.mark.parametrize("index", [-1, COUNT])
def test_a_frame_outside_the_video_is_an_index_error(folder, index):
  with decode.open_video(folder / "h264.mp4") as video:
    with pytest.raises(IndexError, match=f"frame {index} is not one of its {COUNT}"):
      video.frames([0, index])


def test_sound_starts_with_the_first_frame(folder):
  with decode.open_video(folder / "sound.mp4") as video:
    assert video.has_audio
    wave = video.audio(8000)
  t = np.arange(8000) / 8000
  truth = 0.5 * np.sin(2 * np.pi * (200 + 400 * t) * t)
  assert wave.dtype == np.float32 and abs(len(wave) - 8000) < 1200
  assert np.corrcoef(wave[1000:7000], truth[1000:7000])[0, 1] > 0.98
  with decode.open_video(folder / "h264.mp4") as video:
    assert not video.has_audio and video.audio().shape == (0,)


@pytest.mark.parametrize("name", ["h264.mp4", "front.mp4", "h264.mkv", "mpeg4.avi", "vp9.webm"])
@pytest.mark.parametrize("share", [0.02, 0.6, 0.95])
def test_a_file_that_is_cut_off_is_refused(folder, tmp_path, name, share):
  data = (folder / name).read_bytes()
  (tmp_path / name).write_bytes(data[:int(len(data) * share)])
  with pytest.raises(errors.DecodeError, match=name):
    decode.open_video(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"x", b"path,label\na.mp4,1\n" * 100, bytes(5000), b"\0\0\0\x18ftypisom" * 9])
def test_what_is_no_video_is_refused(tmp_path, data):
  (tmp_path / "bad.mp4").write_bytes(data)
  with pytest.raises(errors.DecodeError, match="bad.mp4"):
    decode.open_video(tmp_path / "bad.mp4")
  with pytest.raises(errors.DecodeError):
    decode.open_video(data)


_LINES = b"some \x1b[31mtext\r\n" * 300


@pytest.mark.parametrize("name, data, kind", [
    ("a.txt", _LINES, "tty"), ("a.ans", _LINES, "tty"), ("a.xbin", b"XBIN\x1a\x50\0\x19\0\x10\0" + _LINES, "xbin"),
    ("a.adf", b"\1" + bytes(4288) + _LINES, "adf"), ("a.sbg", b"on: 100+1.5/30\nNOW on\n", "sbg"),
    ("a.idf", b"\x041.4\0\0\0\0\x4f\0\x15\0" + _LINES + bytes(4144), "idf")])
def test_text_that_ffmpeg_would_draw_or_play_is_refused(tmp_path, name, data, kind):
  (tmp_path / name).write_bytes(data)
  with av.open(str(tmp_path / name)) as container:
    assert container.format.name == kind  # it would
  with pytest.raises(errors.DecodeError, match=f"{name}.*it is text, not video"):
    decode.open_video(tmp_path / name)
  with pytest.raises(errors.DecodeError, match=f"{name}.*it is text, not sound"):
    sound.read(tmp_path / name)


def test_a_missing_file_and_a_sound_file_are_refused(tmp_path):
  with pytest.raises(errors.DecodeError, match="no such file"):
    decode.open_video(tmp_path / "none.mp4")
  with av.open(str(tmp_path / "sound.wav"), "w") as out:
    stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
    frame.rate = 8000
    out.mux(stream.encode(frame))
  with pytest.raises(errors.DecodeError, match="it holds no video"):
    decode.open_video(tmp_path / "sound.wav")


def test_a_damaged_frame_is_named_and_the_others_are_exact(folder, tmp_path):
  truth, _ = videos.decoded(folder / "h264.mp4")
  with av.open(str(folder / "h264.mp4")) as source:
    found = [p for p in source.demux(video=0) if p.size]
    key = [p for p in found if p.is_keyframe][2]
    data = bytearray((folder / "h264.mp4").read_bytes())
    data[key.pos:key.pos + key.size] = bytes(key.size)
  (tmp_path / "hole.mp4").write_bytes(data)
  with decode.open_video(tmp_path / "hole.mp4") as video:
    assert video.num_frames == COUNT
    np.testing.assert_array_equal(video.frames([5, 50]), truth[[5, 50]])
    with pytest.raises(errors.DecodeError, match="hole.mp4: frame 26 cannot be decoded"):
      video.frames([26])
    np.testing.assert_array_equal(video.frames([7]), truth[[7]])
    with pytest.raises(errors.DecodeError, match="frame 24"):
      list(video.each())


def test_each_frame_comes_in_order(folder):
  for name in ("h264_refresh.mp4", "h264_open.mp4", "mpeg4_b.avi"):
    truth, _ = videos.decoded(folder / name)
    with decode.open_video(folder / name) as video:
      np.testing.assert_array_equal([f.to_ndarray(format="rgb24") for f in video.each()], truth)


@pytest.mark.parametrize("pattern, ending", [("{:05d}.png", "png"), ("", "png"), ("img_{:04d}.jpg", "jpg")])
def test_a_folder_of_images_is_read_like_a_video(tmp_path, pattern, ending):
  clip = videos.pictures(12)
  for i, picture in enumerate(clip):
    name = (pattern or "frame{}.png").format(i + 1)
    with av.open(str(tmp_path / name), "w", format="image2", options={"update": "1"}) as out:
      stream = out.add_stream("png" if ending == "png" else "mjpeg", options={"qscale": "2"})
      stream.width, stream.height, stream.pix_fmt = 96, 64, "rgb24" if ending == "png" else "yuvj420p"
      out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
      out.mux(stream.encode())
  (tmp_path / "notes.txt").write_text("not a frame")
  with decode.open_video(Media(str(tmp_path), "frames", pattern=pattern)) as video:
    assert (video.num_frames, video.width, video.height, video.has_audio) == (12, 96, 64, False)
    got = video.frames([10, 2, 2])
    assert np.abs(got.astype(int) - clip[[10, 2, 2]]).mean() < (0.1 if ending == "png" else 12)
    assert video.frames([0], short_side=32).shape == (1, 32, 48, 3)
    assert len(video.timestamps) == 12
    with pytest.raises(IndexError):
      video.frames([12])


def test_an_empty_folder_and_a_broken_image_are_named(tmp_path):
  with pytest.raises(errors.DecodeError, match="no images"):
    decode.open_video(tmp_path)
  (tmp_path / "00001.jpg").write_bytes(b"no picture")
  with decode.open_video(tmp_path) as video, pytest.raises(errors.DecodeError, match="00001.jpg"):
    video.frames([0])


def test_importing_it_loads_neither_opencv_nor_jax():
  code = "import sys, vidx.data.decode; print([m for m in ('cv2', 'jax', 'torch') if m in sys.modules])"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name, count", [
    ("demo.mp4", 280), ("test.mp4", 300), ("test.avi", 164), ("demo_spatiotemporal_det.mp4", 57),
    ("test_video_structuralize.mp4", 300), ("demo_skeleton.mp4", 72), ("S001C001P001R001A001_rgb.avi", 103)])
def test_real_clips_have_the_frames_that_are_stated(real_data, tmp_path, name, count):
  path = real_data(f"sample_clips/{name}")
  with decode.open_video(path) as video:
    assert video.num_frames == count
    wanted = [count - 1, 0, count // 2, count // 3, count // 3]
    got = video.frames(wanted)
    shutil.copy(path, tmp_path / "copy")  # its content says what it is
  with decode.open_video(tmp_path / "copy") as video:
    np.testing.assert_array_equal(video.frames(wanted), got)
  with av.open(str(path)) as source:
    for i, frame in enumerate(source.decode(video=0)):
      for place in np.flatnonzero(np.array(wanted) == i):
        np.testing.assert_array_equal(got[place], frame.to_ndarray(format="rgb24"))
  assert i == count - 1
