import os
import shutil

import av
import numpy as np
import pytest

from tests.data import videos
from vidx import errors
from vidx.data import datasets
from vidx.data import decode
from vidx.data import prepare


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
  """(root, out, summary) of a small prepared set, bad files among it."""
  root, out = tmp_path_factory.mktemp("sets") / "root", tmp_path_factory.mktemp("sets") / "out"
  stamps = np.cumsum(np.random.default_rng(0).integers(10, 90, 40))
  clip = videos.pictures(40)
  for folder in ("jump", "run"):
    (root / folder).mkdir(parents=True)
  videos.write(root / "jump" / "large.mp4", clip)
  videos.write(root / "jump" / "variable.mkv", clip, stamps=stamps)
  videos.write(root / "jump" / "packets.avi", clip, "mpeg4", {"bf": "2"})
  videos.write(root / "run" / "turned.mp4", clip, rotation=90)
  videos.write(root / "run" / "open.webm", clip, "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"})
  videos.write(root / "run" / "odd.mp4", clip[:, :31, :35])
  videos.write(root / "run" / "sound.mp4", clip, sound=True)
  videos.write(root / "run" / "one.mp4", clip[:1])
  (root / "run" / "text.mp4").write_text("no video")
  (root / "run" / "empty.mp4").write_bytes(b"")
  whole = (root / "jump" / "large.mp4").read_bytes()
  (root / "jump" / "cut.mp4").write_bytes(whole[:len(whole) // 2])
  (root / "clips.csv").write_text("path,label,split\njump/large.mp4,jump,train\nrun/turned.mp4,run,train\n"
                                  "run/open.webm,run,val\njump/variable.mkv,jump,val\n")
  return root, out, prepare.prepare(root, out, short_side=48, gop=4, workers=2)


def test_the_summary_counts_and_names_the_bad(sets):
  _, _, summary = sets
  assert {k: summary[k] for k in ("videos", "encoded", "kept", "copied")} == {
      "videos": 11, "encoded": 8, "kept": 0, "copied": 1}
  assert sorted(summary["bad"]) == ["jump/cut.mp4", "run/empty.mp4", "run/text.mp4"]
  assert "empty" in summary["bad"]["run/empty.mp4"] and summary["bytes_out"] > 0


def test_nothing_else_is_left_behind(sets):
  root, out, summary = sets
  made = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
  there = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
  assert made == sorted({*there, "prepared.json"} - set(summary["bad"]))
  assert (out / "clips.csv").read_bytes() == (root / "clips.csv").read_bytes()


@pytest.mark.parametrize("name", ["jump/large.mp4", "jump/variable.mkv", "jump/packets.avi", "run/turned.mp4",
                                  "run/open.webm", "run/odd.mp4", "run/sound.mp4", "run/one.mp4"])
def test_frames_stay_in_number_time_and_content(sets, name):
  root, out, _ = sets
  with decode.open_video(root / name) as a, decode.open_video(out / name) as b:
    assert a.num_frames == b.num_frames
    np.testing.assert_allclose(b.timestamps, a.timestamps, atol=1e-6)
    assert min(b.width, b.height) == min(48, min(a.width, a.height) // 2 * 2) or name == "run/odd.mp4"
    assert b.width % 2 == b.height % 2 == 0
    x, y = (r.frames(range(r.num_frames), short_side=64)[:, :, :64].astype(int) for r in (a, b))
  for i in range(0, len(x), 3):  # each is most like the one that it was made from
    near = range(max(0, i - 2), min(len(x), i + 3))
    assert min(near, key=lambda j: np.abs(x[j] - y[i]).mean()) == i


def test_key_frames_are_dense_and_no_frame_waits(sets):
  _, out, _ = sets
  with av.open(str(out / "jump/packets.avi")) as source:
    found = [p for p in source.demux(video=0) if p.size]
  assert [i for i, p in enumerate(found) if p.is_keyframe] == list(range(0, 40, 4))
  assert [p.pts for p in found] == sorted(p.pts for p in found)


def test_sound_stays_in_place(sets):
  root, out, _ = sets
  with decode.open_video(root / "run/sound.mp4") as a, decode.open_video(out / "run/sound.mp4") as b:
    x, y = a.audio(8000), b.audio(8000)
  n = min(len(x), len(y))
  assert abs(len(x) - len(y)) < 1200 and np.corrcoef(x[500:n - 500], y[500:n - 500])[0, 1] > 0.95


def test_sound_that_mp4_cannot_hold_is_encoded_anew(tmp_path):
  clip = videos.pictures(15)
  with av.open(str(tmp_path / "a.avi"), "w") as out:
    video, tone = out.add_stream("mpeg4", rate=15), out.add_stream("pcm_s16le", rate=8000, layout="mono")
    video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
    for picture in clip:
      out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    wave = (9000 * np.sin(np.arange(8000)**2 / 20000)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
    frame.rate = 8000
    out.mux([*video.encode(), *tone.encode(frame), *tone.encode()])
  prepare.encode(str(tmp_path / "a.avi"), str(tmp_path / "b.avi"), prepare.Settings(48))
  with decode.open_video(tmp_path / "a.avi") as a, decode.open_video(tmp_path / "b.avi") as b:
    x, y = a.audio(8000), b.audio(8000)
    assert a.num_frames == b.num_frames == 15
  assert np.corrcoef(x[500:7000], y[500:7000])[0, 1] > 0.9


def test_the_same_reader_reads_both(sets):
  root, out, _ = sets
  for split in ("train", "val"):
    a, b = (datasets.load("folder", str(r), split) for r in (root, out))
    assert [(r.id, r.label) for r in a.records] == [(r.id, r.label) for r in b.records]
    assert not b.missing and len(b) == 2


def test_a_second_call_does_what_is_left(sets, tmp_path):
  root, out, _ = sets
  shutil.copytree(out, tmp_path / "out")
  (tmp_path / "out" / "run" / "one.mp4").unlink()
  (tmp_path / "out" / "run" / "odd.mp4.vidx-part").write_bytes(b"half")
  before = os.stat(tmp_path / "out" / "jump" / "large.mp4").st_mtime_ns
  summary = prepare.prepare(root, tmp_path / "out", short_side=48, gop=4, workers=1, progress=lambda *_: None)
  assert (summary["encoded"], summary["kept"], summary["copied"], len(summary["bad"])) == (1, 7, 0, 3)
  assert not list((tmp_path / "out").rglob("*.vidx-part"))
  assert os.stat(tmp_path / "out" / "jump" / "large.mp4").st_mtime_ns == before


def test_what_cannot_be_done_is_said(sets, tmp_path):
  root, out, _ = sets
  with pytest.raises(errors.DataError, match=r"was prepared with another short_side \(48, now 64\);"):
    prepare.prepare(root, out, short_side=64, gop=4)
  with pytest.raises(errors.DataError, match="lies inside"):
    prepare.prepare(root, root / "out")
  with pytest.raises(errors.DataError, match="no such folder"):
    prepare.prepare(tmp_path / "none", tmp_path / "out")
  (tmp_path / "empty").mkdir()
  with pytest.raises(errors.DataError, match="no videos"):
    prepare.prepare(tmp_path / "empty", tmp_path / "out")
  with pytest.raises(errors.ConfigError, match="gop=0"):
    prepare.prepare(root, tmp_path / "out", gop=0)
  assert not (tmp_path / "out").exists()


def small(path):
  path.parent.mkdir(parents=True, exist_ok=True)
  videos.write(path, videos.pictures(4, 32, 32))
  return path


def made(out):
  return sorted(str(p.relative_to(out)) for p in out.rglob("*") if not p.is_dir() and p.name != "prepared.json")


@pytest.mark.parametrize("links", [[("a/up", "..")], [("a/x", "."), ("a/y", ".")], [("a/x", "../b"), ("b/y", "../a")]])
def test_a_circle_of_links_is_gone_round_once(tmp_path, links):
  for name in ("a/1.mp4", "b/2.mp4"):
    small(tmp_path / "in" / name)
  for name, to in links:
    os.symlink(to, tmp_path / "in" / name)
  summary = prepare.prepare(tmp_path / "in", tmp_path / "out", workers=1, progress=lambda *_: None)
  assert made(tmp_path / "out") == ["a/1.mp4", "b/2.mp4"] and summary["videos"] == summary["encoded"] == 2
  records = [r.id for s in ("train", "val") for r in datasets.read("folder", str(tmp_path / "out"), s).records]
  assert sorted(records) == ["a/1.mp4", "b/2.mp4"]


def test_hidden_files_and_text_are_no_videos_and_second_names_are_links(tmp_path):
  root, out = tmp_path / "in", tmp_path / "out"
  small(root / "a" / "1.mp4")
  shutil.copy(root / "a" / "1.mp4", root / "a" / "2.MTS")
  (root / "a" / "._1.mp4").write_bytes(b"\0\5\x16\7")
  (root / ".git").mkdir()
  (root / ".git" / "x.mp4").touch()
  (root / "app.ts").write_text("export const a = 1;\n")
  os.symlink("../a/1.mp4", root / "a" / "0.mp4")
  os.symlink("nowhere.mp4", root / "a" / "gone.mp4")
  os.link(root / "a" / "2.MTS", root / "a" / "3.mts")
  os.symlink(".", root / "a" / "here")
  for linked, kept in ((2, 0), (0, 4)):  # a second call finds all of it done
    summary = prepare.prepare(root, out, short_side=16, workers=1, progress=lambda *_: None)
    assert {k: summary[k] for k in ("videos", "linked", "kept")} == {"videos": 4, "linked": linked, "kept": kept}
    assert summary["bad"] == {"a/gone.mp4": "it is no file, or a link to nothing."}
  assert made(out) == ["a/0.mp4", "a/1.mp4", "a/2.MTS", "a/3.mts", "app.ts"]
  assert os.path.samefile(out / "a/0.mp4", out / "a/1.mp4") and os.path.samefile(out / "a/2.MTS", out / "a/3.mts")
  with decode.open_video(out / "a/3.mts") as video:
    assert video.num_frames == 4


def test_gif_and_transport_streams_are_prepared_as_well(tmp_path):
  clip = videos.pictures(4, 32, 32)
  (tmp_path / "in").mkdir()
  videos.write(tmp_path / "in" / "a.m2ts", clip)
  with av.open(str(tmp_path / "in" / "b.gif"), "w") as out:
    stream = out.add_stream("gif", rate=10)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb8"
    for picture in clip:
      out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    out.mux(stream.encode())
  summary = prepare.prepare(tmp_path / "in", tmp_path / "out", workers=1, progress=lambda *_: None)
  assert (summary["videos"], summary["encoded"], summary["bad"]) == (2, 2, {})
  for name in ("a.m2ts", "b.gif"):
    with decode.open_video(tmp_path / "out" / name) as video:
      assert video.num_frames == 4


@pytest.mark.parametrize("size", [(64, 96), (96, 160)])
def test_transport_streams_put_together_are_prepared_with_their_sound(tmp_path, size):
  first, second = videos.pictures(40), videos.pictures(35, size[1], size[0], seed=1)
  for name, clip in (("a", first), ("b", second)):
    videos.write(tmp_path / f"{name}.ts", clip, sound=True)
  source, target = tmp_path / "both.ts", tmp_path / "both.mp4"
  source.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
  assert prepare.encode(str(source), str(target), prepare.Settings(short_side=64)) == 75
  with decode.open_video(source) as before, decode.open_video(target) as after:
    assert (before.num_frames, after.width, after.height) == (after.num_frames, 96, 64) == (75, 96, 64)
    wanted = before.frames(range(75)).astype(float)
    assert np.abs(after.frames(range(75)) - wanted).mean() < (6 if size == (64, 96) else 12)
    np.testing.assert_allclose(after.timestamps, before.timestamps, atol=2e-3)
    assert len(after.audio(8000)) / 8000 > 1.7  # a second of each
