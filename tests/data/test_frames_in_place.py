"""Frames are FFmpeg's, in FFmpeg's order, whatever a container says of them."""

import io

import av
import numpy as np
import pytest

from tests.data import videos
from vidx import errors
from vidx.data import check
from vidx.data import decode
from vidx.data import frame_times
from vidx.data import fuzz_judge
from vidx.data import fuzz_videos
from vidx.data import headers
from vidx.data import packets
from vidx.data import prepare
from vidx.data import whole
from vidx.data.records import Media

COUNT = 40
# One container of every codec, and the ones that are read in another way.
FILES = ("h264.mp4", "h264.fragments", "h264.mkv", "h264.ts", "h264.flv", "h264_open.mkv", "hevc.mp4", "hevc.mkv",
         "mpeg1.mpg", "mpeg2.ts", "mpeg4_b.avi", "mpeg4_b.mp4", "msmpeg4v2.avi", "msmpeg4v3.wmv", "wmv1.avi",
         "wmv2.wmv",
         "flv1.flv", "h263.3gp", "h263p.avi", "vp8.webm", "vp9.webm", "vp9.mp4", "av1.mp4", "av1.webm", "theora.ogv",
         "ffv1.mkv", "mjpeg.avi", "prores.mov", "gif.gif")


@pytest.fixture(scope="module")
def intact():
  return dict(fuzz_videos.intact(np.random.default_rng(0), ",".join(FILES)))


@pytest.fixture(scope="module")
def clip():
  return videos.pictures(COUNT, 64, 48)


@pytest.fixture(autouse=True)
def forget():
  whole.memory.clear()


def plain(source):
  """uint8 frames of a plain decoding, all at the size of the first."""
  with av.open(source if isinstance(source, str) else io.BytesIO(source)) as container:
    found = list(container.decode(container.streams.video[0]))
    return np.stack([f.to_ndarray(format="rgb24", width=found[0].width, height=found[0].height) for f in found])


def copied(source, target, change=lambda i, p: None, **options):
  """Puts packets into another file, changed one by one."""
  with av.open(str(source)) as a, av.open(str(target), "w", options=options) as b:
    stream = b.add_stream_from_template(a.streams.video[0])
    for i, p in enumerate(p for p in a.demux(video=0) if p.size):
      change(i, p)
      p.stream = stream
      b.mux(p)
  return target


def one_by_one(path, truth):
  """Every frame from a reader of its own, in an order in which none prepares for the next."""
  for i in np.random.default_rng(0).permutation(len(truth)):
    with decode.open_video(path) as video:
      assert video.num_frames == len(truth)
      np.testing.assert_array_equal(video.frames([i])[0], truth[i], f"frame {i}")


def all_ways(path):
  verdict, detail = fuzz_judge.judge(path if isinstance(path, bytes) else path.read_bytes(), np.random.default_rng(0))
  assert verdict == "same", detail


@pytest.mark.parametrize("name", FILES)
def test_intact_files_give_the_frames_of_a_whole_decoding_in_every_way_of_reading(intact, name):
  if name not in intact:
    pytest.skip(f"this build of FFmpeg has no encoder for {name}")
  all_ways(intact[name])


@pytest.mark.parametrize("name", ["h264.mp4", "h264.fragments", "h264.mkv", "h264_open.mkv", "hevc.mp4", "hevc.mkv",
                                  "vp8.webm", "vp9.webm", "vp9.mp4", "av1.mp4", "av1.webm", "prores.mov"])
def test_intact_files_whose_headers_can_be_read_are_never_decoded_whole(intact, name, monkeypatch):
  if name not in intact:
    pytest.skip(f"this build of FFmpeg has no encoder for {name}")
  monkeypatch.delattr(whole, "read")
  for _ in range(2):
    with decode.open_video(intact[name]) as video:
      video.frames([20, 3])


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("codec, options", [("libx264", {"g": "12"}), ("mpeg4", {"g": "12", "bf": "2"})])
def test_time_stamps_in_decoding_order_do_not_order_frames(tmp_path, clip, codec, options, ending):
  videos.write(tmp_path / "a.mp4", clip, codec, options, rate=25)
  truth = plain(str(tmp_path / "a.mp4"))

  def level(i, p):
    p.pts = p.dts = i * p.duration

  path = copied(tmp_path / "a.mp4", tmp_path / f"b.{ending}", level)
  with decode.open_video(path) as video:
    np.testing.assert_array_equal(video.frames(range(COUNT)), truth)
    np.testing.assert_allclose(video.timestamps, np.arange(COUNT) / 25, atol=2e-3)
  one_by_one(path, truth)
  prepare.encode(str(path), str(tmp_path / "c.mp4"), prepare.Settings(48))
  with decode.open_video(tmp_path / "c.mp4") as video:
    assert video.num_frames == COUNT and video.fps == pytest.approx(25, rel=0.01)


@pytest.mark.parametrize("codec", ["msmpeg4", "wmv1", "flv"])
def test_an_avi_without_its_index_is_read_from_true_key_frames(tmp_path, clip, codec):
  videos.write(tmp_path / "a.avi", clip, codec, {"g": "10"})
  data = (tmp_path / "a.avi").read_bytes()
  (tmp_path / "cut.avi").write_bytes(data[:data.rindex(b"idx1")])
  with av.open(str(tmp_path / "cut.avi")) as container:
    assert sum(p.is_keyframe for p in container.demux(video=0)) > COUNT / 10
  one_by_one(tmp_path / "cut.avi", plain(str(tmp_path / "a.avi")))


def false_key_frame(tmp_path, clip, codec="libx264"):
  """An mp4 file one of whose key frames is none."""
  videos.write(tmp_path / "a.mp4", clip, codec, {"g": "10", "bf": "0"})
  data = bytearray((tmp_path / "a.mp4").read_bytes())
  at = data.index(b"stss") + 12  # numbers 1, 11, 21, 31
  assert data[at + 7] == 11
  data[at + 7] ^= 4
  (tmp_path / "flipped.mp4").write_bytes(data)
  return tmp_path / "flipped.mp4", plain(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_flipped_bit_in_the_list_of_key_frames_changes_no_frame(tmp_path, clip, codec):
  path, truth = false_key_frame(tmp_path, clip, codec)
  one_by_one(path, truth)


def test_in_a_large_file_a_false_key_frame_is_found_when_it_is_wanted(tmp_path, clip, monkeypatch):
  path, truth = false_key_frame(tmp_path, clip)
  monkeypatch.setattr(packets, "_KEPT_BYTES", 100)
  with decode.open_video(path) as video:
    np.testing.assert_array_equal(video.frames([3])[0], truth[3])
    assert whole.memory.get(whole.identity(path)) is None
    np.testing.assert_array_equal(video.frames([17, 5, 38]), truth[[17, 5, 38]])
    np.testing.assert_array_equal([f.to_ndarray(format="rgb24") for f in video.each()], truth)
  assert isinstance(whole.memory.get(whole.identity(path)), whole.Whole)


@pytest.mark.parametrize("codec, options, ending", [
    ("libsvtav1", {"g": "12", "preset": "10"}, "mp4"), ("libvpx-vp9", {"g": "12", "cpu-used": "8"}, "webm")])
def test_the_first_frame_asked_for_need_not_be_a_key_frame(tmp_path, codec, options, ending):
  path = tmp_path / f"a.{ending}"
  try:
    videos.write(path, videos.pictures(30, 96, 64), codec, options)
  except ValueError:
    pytest.skip(f"this build of FFmpeg lacks {codec}")
  one_by_one(path, plain(str(path)))
  assert check.probe(Media(str(path)), 3)["frames"] == 30


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("default", [None, 0, 1])
def test_of_several_streams_the_default_one_is_shown_and_else_the_largest(tmp_path, ending, default):
  path = tmp_path / f"two.{ending}"
  sizes, counts = ((32, 32), (160, 96), (64, 48)), (10, 20, 15)
  with av.open(str(path), "w") as out:
    streams = [out.add_stream("libx264", rate=25) for _ in sizes]
    for i, (stream, (stream.width, stream.height)) in enumerate(zip(streams, sizes)):
      stream.pix_fmt = "yuv420p"
      stream.disposition = av.stream.Disposition.default if i == default else av.stream.Disposition(0)
    for stream, size, count in zip(streams, sizes, counts):
      for picture in videos.pictures(count, *size):
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
      out.mux(stream.encode())
  with av.open(str(path)) as container:
    flags = [bool(s.disposition & av.stream.Disposition.default) for s in container.streams.video]
  shown = flags.index(True) if sum(flags) == 1 else 1
  with decode.open_video(path) as video:
    assert ((video.width, video.height), video.num_frames) == (sizes[shown], counts[shown])


def test_frames_without_time_stamps_come_at_the_file_s_rate(tmp_path, clip):
  videos.write(tmp_path / "a.mp4", clip, options={"g": "12"}, rate=25)
  copied(tmp_path / "a.mp4", tmp_path / "raw.h264")
  with decode.open_video(tmp_path / "raw.h264") as video:
    assert video.fps == pytest.approx(25) and video.duration == pytest.approx(COUNT / 25)
    np.testing.assert_allclose(video.timestamps, np.arange(COUNT) / 25)
    np.testing.assert_array_equal(video.frames([30, 7]), plain(str(tmp_path / "a.mp4"))[[30, 7]])
  prepare.encode(str(tmp_path / "raw.h264"), str(tmp_path / "b.mp4"), prepare.Settings(48))
  with decode.open_video(tmp_path / "b.mp4") as video:
    assert video.num_frames == COUNT and video.fps == pytest.approx(25)


@pytest.mark.parametrize("stamps, times", [
    ([10, 20, 30], [10, 20, 30]), ([None, None, 30, 40], [10, 20, 30, 40]), ([0, None, 20], [0, 10, 20]),
    ([0, 10, None, None], [0, 10, 20, 30]), ([None] * 3, [0, 10, 20]), ([0, 10, 20, 0, 10, 20], range(0, 60, 10)),
    ([*range(0, 200, 10), 3, *range(210, 400, 10)], range(0, 400, 10)),
    ([*range(0, 200, 10), 9000, *range(210, 400, 10)], range(0, 400, 10)), ([5, 5, 5], [5, 15, 25])])
def test_times_ascend_and_those_that_fit_stay(stamps, times):
  np.testing.assert_allclose(frame_times.ascending(stamps, 10), list(times))


def test_files_that_were_joined_go_on_in_time(tmp_path, clip):
  videos.write(tmp_path / "a.ts", clip, options={"g": "12"}, rate=25)
  (tmp_path / "ab.ts").write_bytes((tmp_path / "a.ts").read_bytes() * 2)
  with decode.open_video(tmp_path / "ab.ts") as video:
    assert video.num_frames == 2 * COUNT and video.fps == pytest.approx(25, rel=1e-3)
    np.testing.assert_allclose(video.timestamps, np.arange(2 * COUNT) / 25, atol=1e-6)
  prepare.encode(str(tmp_path / "ab.ts"), str(tmp_path / "c.mp4"), prepare.Settings(48))
  with decode.open_video(tmp_path / "c.mp4") as video:
    assert video.num_frames == 2 * COUNT


def test_frames_of_another_size_are_shown_at_the_first_one_s(tmp_path, clip):
  videos.write(tmp_path / "a.ts", clip, options={"g": "12"})
  videos.write(tmp_path / "b.ts", videos.pictures(COUNT, 128, 96), options={"g": "12"})
  (tmp_path / "ab.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
  all_ways(tmp_path / "ab.ts")
  with decode.open_video(tmp_path / "ab.ts") as video:
    assert video.frames([3, COUNT + 20], short_side=32).shape == (2, 32, 43, 3)
  assert check.probe(Media(str(tmp_path / "ab.ts")), 0)["size"] == (64, 48)


def test_a_whole_decoding_is_remembered_until_the_file_changes(tmp_path, clip, monkeypatch):
  calls, read = [], whole.read
  monkeypatch.setattr(whole, "read", lambda opened: calls.append(1) or read(opened))
  videos.write(tmp_path / "a.avi", clip, "mpeg4", {"g": "10", "bf": "2"})
  for _ in range(3):
    with decode.open_video(tmp_path / "a.avi") as video:
      video.frames([5, 30])
  assert len(calls) == 1
  videos.write(tmp_path / "a.avi", clip[:30], "mpeg4", {"g": "10", "bf": "2"})
  with decode.open_video(tmp_path / "a.avi") as video:
    assert video.num_frames == 30
  assert len(calls) == 2


def test_what_is_remembered_longest_ago_is_forgotten_first():
  memory = whole.Memory(limit=5)
  one = whole.Whole(np.arange(3), np.zeros(3), np.ones(3, bool), np.zeros(3, bool), [0, 1, 2], (8, 8), False)
  memory.put("a", one)
  memory.put("b", whole.PROVEN)
  assert memory.get("a") is one
  memory.put("c", one)
  assert memory.get("b") is None and memory.get("a") is None and memory.get("c") is one


def test_frames_that_a_decoder_makes_up_are_refused_by_number(tmp_path, clip):
  videos.write(tmp_path / "a.avi", clip, "mpeg4", {"g": "10"})
  with av.open(str(tmp_path / "a.avi")) as container:
    hit = [p for p in container.demux(video=0) if p.size][15]
  data = bytearray((tmp_path / "a.avi").read_bytes())
  start = hit.pos + 8 + hit.size // 3
  data[start:start + hit.size // 2] = bytes(hit.size // 2)
  (tmp_path / "hole.avi").write_bytes(data)
  truth = plain(str(tmp_path / "a.avi"))
  with decode.open_video(tmp_path / "hole.avi") as video:
    np.testing.assert_array_equal(video.frames([3, 25]), truth[[3, 25]])
    with pytest.raises(errors.DecodeError, match="frame 15 cannot be decoded; the file is damaged"):
      video.frames([15])
    with pytest.raises(errors.DecodeError, match="frame 15"):
      list(video.each())


def test_headers_that_are_cut_or_unknown_are_unclear():
  assert headers.reader("mpeg4", b"") is None
  for codec in ("h264", "hevc"):
    with pytest.raises(headers.Unclear):
      headers.reader(codec, b"\1\2\3")
  for codec, data in (("vp8", b"\0\0\0\0\0\0"), ("vp9", b"\x10"), ("libdav1d", b"\x0a\xff"), ("libdav1d", b"\x12\0")):
    with pytest.raises(headers.Unclear):
      headers.reader(codec, b"")(data)


@pytest.mark.parametrize("name, count", [
    ("01_av1/a1.mp4", 50), ("02_frames_in_decoding_order/avi2mp4.mp4", 50),
    ("08_two_video_streams/two_default2.mp4", 50),
    ("09_time_stamps_missing/cutneg.mkv", 38), ("09_time_stamps_missing/raw.h264", 50),
    ("09_time_stamps_missing/concat.ts", 100), ("10_size_changes/sizechange.mp4", 75),
    ("10_size_changes/sizechange.mkv", 75), ("10_size_changes/sizechange.ts", 75),
    ("19_container_index/wmv1_index_cut.avi", 200), ("20_codecs/av1.mp4", 20), ("20_codecs/mpeg1.mpg", 40),
    ("20_codecs/msmpeg4.avi", 40), ("20_codecs/vp8.webm", 40), ("20_codecs/wmv2.wmv", 40), ("20_codecs/x264.ts", 40),
    ("20_codecs/x265.mp4", 40)])
def test_files_that_were_read_wrongly_once_are_read_right(real_data, tmp_path, name, count):
  path = real_data(f"../cases/{name}")
  all_ways(path)
  with decode.open_video(path) as video:
    assert video.num_frames == count
    assert video.fps == pytest.approx(25, rel=0.01) and video.duration == pytest.approx(count / 25, rel=0.01)
  assert check.probe(Media(str(path)), 3)["frames"] == count
  prepare.encode(str(path), str(tmp_path / "a.mp4"), prepare.Settings(48))
  with decode.open_video(tmp_path / "a.mp4") as video:
    assert video.num_frames == count and video.fps == pytest.approx(25, rel=0.01)
