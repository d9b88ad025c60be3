"""Toybox: the same at every call, readable by every reader, and no shortcut to its labels."""

import dataclasses
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from vidx import errors
from vidx.data import datasets, toybox
from vidx.data.decode import open_video
from vidx.data.toybox import labels, world, write
from vidx.data.toybox.render import RATE

FRAMES = 12
OPPOSITES = [("left", "right"), ("up", "down"), ("grow", "shrink"), ("clockwise", "anticlockwise")]
SMALL = dict(size=(32, 32), frames=6, fps=6.0, workers=1)


def scenes(name, count, split="train", kind="motion", frames=FRAMES):
  """Scenes of one class."""
  classes = toybox.classes_of(kind)
  first = classes.index(name)
  return [toybox.scene_of(kind, split, first + len(classes) * i, frames, seed=0)[0] for i in range(count)]


def twin(name, seed=0):
  """A scene that follows from a class and a seed alone: opposites share all else."""
  rng = np.random.default_rng(seed)
  return labels.motion_scene(labels.MOTION.index(name), "train", FRAMES, rng)[0]


# ---------------------------------------------------------------- sameness


@pytest.mark.parametrize("kind", list(toybox.LABEL_SETS))
def test_rendering_twice_gives_equal_frames_and_sound(kind):
  (a, la), (b, lb) = (toybox.scene_of(kind, "train", 3, FRAMES, seed=5) for _ in range(2))
  assert la == lb
  np.testing.assert_array_equal(toybox.render(a, (32, 48)), toybox.render(b, (32, 48)))
  np.testing.assert_array_equal(toybox.sound(a, 12), toybox.sound(b, 12))


def test_seeds_splits_and_positions_give_other_scenes():
  at = lambda split, index, seed: toybox.render(toybox.scene_of("motion", split, index, 1, seed)[0], (32, 32))
  pictures = [at("train", 0, 0), at("train", 8, 0), at("val", 0, 0), at("train", 0, 1)]
  assert len({p.tobytes() for p in pictures}) == 4


def test_files_written_again_and_again_are_equal(tmp_path):
  scene = scenes("left", 1, frames=24)[0]
  frames, sound = toybox.render(scene, (80, 80)), toybox.sound(scene, 12.0)
  seen = set()
  for _ in range(12):  # some encoder settings differ in one file of five
    write.write_video(str(tmp_path / "v.mp4"), frames, 12.0, sound)
    seen.add((tmp_path / "v.mp4").read_bytes())
  assert len(seen) == 1 and os.listdir(tmp_path) == ["v.mp4"]


def contents(root):
  return {os.path.relpath(os.path.join(at, f), root): hashlib.md5(open(os.path.join(at, f), "rb").read()).hexdigest()
          for at, _, fs in os.walk(root) for f in fs}


def test_a_set_is_the_same_whoever_builds_it_and_a_second_build_renders_nothing(tmp_path):
  more = dict(labels="motion", split=(16, 4, 0), size=(16, 16), frames=2, fps=6.0)
  assert toybox.build(str(tmp_path / "a"), workers=1, **more)["rendered"] == 20
  assert toybox.build(str(tmp_path / "b"), workers=2, **more)["rendered"] == 20
  before = contents(tmp_path / "a")
  assert before == contents(tmp_path / "b")
  os.remove(tmp_path / "a/videos/train/00003.mp4")
  assert toybox.build(str(tmp_path / "a"), workers=1, **more)["rendered"] == 1
  assert contents(tmp_path / "a") == before


def test_videos_have_the_asked_frames_size_rate_and_sound(tmp_path):
  scene = scenes("up", 1, frames=18)[0]
  frames, sound = toybox.render(scene, (32, 48)), toybox.sound(scene, 12.0)
  write.write_video(str(tmp_path / "v.mp4"), frames, 12.0, sound)
  with open_video(str(tmp_path / "v.mp4")) as video:
    assert (video.num_frames, video.height, video.width, video.has_audio) == (18, 32, 48, True)
    assert video.fps == pytest.approx(12.0)
    seen = video.frames(range(18)).astype(int)
    heard = video.audio(RATE)
  assert np.abs(seen - frames).mean() < 12
  assert len(heard) == pytest.approx(1.5 * RATE, rel=0.1) and 0.05 < np.abs(heard).mean() < 0.4


# ---------------------------------------------------------------- motion needs time


@pytest.mark.parametrize("name, opposite", OPPOSITES)
def test_opposite_motions_are_each_other_backwards(name, opposite):
  a, b = twin(name), twin(opposite)
  still = np.zeros_like(a.camera)  # the hand that holds the camera is the same in both, and so not backwards
  a, b = (dataclasses.replace(s, camera=still) for s in (a, b))
  frames, backwards = toybox.render(a, (48, 48)), toybox.render(b.reversed(), (48, 48))
  assert not np.array_equal(frames, frames[::-1])
  assert np.abs(frames.astype(int) - backwards).max() <= 2  # corners are rounded to a sixteenth of a pixel


def test_a_reversed_scene_renders_its_frames_backwards():
  scene = scenes("clockwise", 1)[0]
  np.testing.assert_array_equal(toybox.render(scene.reversed(), (32, 32)), toybox.render(scene, (32, 32))[::-1])
  np.testing.assert_array_equal(scene.reversed().pitch, scene.pitch[::-1])


def test_each_class_moves_as_its_name_says():
  ways = {"left": ("x", -1), "right": ("x", 1), "up": ("y", -1), "down": ("y", 1), "clockwise": ("angle", 1),
          "anticlockwise": ("angle", -1)}
  for name in labels.MOTION:
    for scene in scenes(name, 5):
      steps = {k: np.diff(getattr(scene.objects[0], k)) for k in ("x", "y", "size", "angle")}
      key, sign = ways.get(name, ("size", 1 if name == "grow" else -1))
      moving = np.sign(steps.pop(key))
      assert (moving == sign).sum() >= len(moving) - 1  # sizes start again once
      assert all((s == 0).all() for s in steps.values())


def same_distribution(a, b):
  """Kolmogorov and Smirnov's largest distance of two samples stays below what chance gives once in 10,000."""
  both = np.sort(np.concatenate([a, b]))
  distance = np.abs(np.searchsorted(np.sort(a), both, "right") / len(a)
                    - np.searchsorted(np.sort(b), both, "right") / len(b)).max()
  return distance < np.sqrt(-0.5 * np.log(0.5e-4) * (1 / len(a) + 1 / len(b)))


@pytest.mark.parametrize("name, opposite", OPPOSITES)
@pytest.mark.parametrize("frame", [0, FRAMES // 2, FRAMES - 1])
def test_one_frame_says_nothing_about_a_motion_or_its_opposite(name, opposite, frame):
  a, b = scenes(name, 400), scenes(opposite, 400)
  values = {
      "x": lambda s: s.objects[0].x[frame] % 1, "y": lambda s: s.objects[0].y[frame] % 1,
      "size": lambda s: s.objects[0].size[frame], "angle": lambda s: s.objects[0].angle[frame] % (2 * np.pi),
      "shape": lambda s: list(world.SHAPES).index(s.objects[0].shape), "red": lambda s: s.objects[0].colour[0],
      "background": lambda s: world.BACKGROUNDS.index(s.background), "camera": lambda s: s.camera[frame, 0]}
  for value in values.values():
    assert same_distribution(np.array([value(s) for s in a]), np.array([value(s) for s in b]))


def test_places_are_uniform_over_the_picture_at_every_moment():
  for frame in (0, FRAMES - 1):
    x = np.array([s.objects[0].x[frame] % 1 for s in scenes("left", 800)])
    assert same_distribution(x, (np.arange(8000) + 0.5) / 8000)


def test_the_mean_picture_of_opposites_is_the_same():
  means = [np.mean([toybox.render(s, (16, 16))[0] for s in scenes(name, 300, frames=2)], axis=(0, 3))
           for name in ("left", "right")]
  assert np.abs(means[0] - means[1]).max() < 20  # grey levels, standard error about 4


# ---------------------------------------------------------------- other label sets


def test_the_background_tells_the_biased_class_in_training_only():
  told = {}
  for split in ("train", "val", "test"):
    hits = [toybox.scene_of("biased", split, i, 1, 0)[0].background == world.BACKGROUNDS[i % 4] for i in range(800)]
    told[split] = np.mean(hits)
  assert 0.93 < told["train"] < 0.99
  assert abs(told["val"] - 0.25) < 0.06 and abs(told["test"] - 0.25) < 0.06


def test_appearance_shows_what_its_name_says():
  for i, name in enumerate(toybox.classes_of("appearance")):
    scene, label = toybox.scene_of("appearance", "val", i, 4, 0)
    colour, shape = name.split()
    thing = scene.objects[0]
    assert label == i and thing.shape == shape
    distance = {c: np.abs(np.subtract(v, thing.colour)).sum() for c, v in world.COLOURS.items()}
    assert min(distance, key=distance.get) == colour


def test_tags_say_what_is_in_the_scene():
  classes, split = toybox.classes_of("tags"), set()
  for i in range(60):
    scene, label = toybox.scene_of("tags", "train", i, 4, 0)
    tags = {classes[c] for c in label}
    split |= tags
    assert scene.background in tags and {o.shape for o in scene.objects} <= tags
    assert ("many" in tags) == (len(scene.objects) == 2) != ("single" in tags)
    assert all(tags & set(kind) for kind in labels.TAGS.values())
  assert split == set(classes)


# ---------------------------------------------------------------- where computing less is enough


@pytest.mark.parametrize("frames", [25, 7, 1])
def test_a_needle_is_the_one_run_of_a_shape(frames):
  lengths = []
  for i in range(40):
    scene, label = toybox.scene_of("needle", "train", i, frames, 0)
    needle, decoy = (o.size > 0 for o in scene.objects)
    assert scene.objects[0].shape == toybox.classes_of("needle")[label] != scene.objects[1].shape
    where = np.flatnonzero(needle)
    assert (np.diff(where) == 1).all() and not (needle & decoy).any()
    both = needle | decoy
    assert not (decoy[1:] & both[:-1]).any() and not (decoy[:-1] & both[1:]).any()
    lengths.append((len(where), decoy.sum()))
  if frames == 25:
    assert {n for n, _ in lengths} == {5, 6, 7, 8} and np.mean([d for _, d in lengths]) > 4


def test_redundant_clips_repeat_frames_and_move_at_any_speed():
  shares = []
  for i in range(32):
    scene, label = toybox.scene_of("redundant", "train", i, 16, 0)
    frames = toybox.render(scene, (24, 24))
    same = (frames[1:] == frames[:-1]).all(axis=(1, 2, 3))
    thing = scene.objects[0]
    still = np.diff(np.stack([thing.x, thing.y, thing.size, thing.angle]), axis=1).any(0) == 0
    np.testing.assert_array_equal(same, still)
    shares.append(same.mean())
    assert label == i % 8
  assert min(shares) < 0.15 and max(shares) > 0.7


def test_clutter_is_grey_and_half_of_the_scenes_have_none():
  crowded = [toybox.scene_of("cluttered", "train", i, 2, 0) for i in range(80)]
  sizes = [len(scene.objects) for scene, _ in crowded]
  assert set(sizes) == {1, 5, 6, 7, 8} and 25 < sizes.count(1) < 55
  for scene, label in crowded:
    *around, thing = scene.objects
    assert thing.shape == toybox.classes_of("cluttered")[label] and len(set(thing.colour)) > 1
    assert all(len(set(o.colour)) == 1 for o in around)


def test_untrimmed_videos_show_their_motion_for_a_while():
  for i in range(24):
    scene, _ = toybox.scene_of("untrimmed", "val", i, 40, 0)
    seen = np.flatnonzero(scene.objects[0].size)
    assert 8 <= len(seen) <= 16 and (np.diff(seen) == 1).all()
  frames = toybox.render(dataclasses.replace(scene, camera=np.zeros((40, 2))), (24, 24))
  empty = np.delete(frames, seen, axis=0)
  assert (empty == empty[0]).all() and (frames[seen] != empty[0]).any(axis=(1, 2, 3)).all()


def test_a_conjunction_is_the_way_of_the_star_beside_a_circle_of_another_way():
  ways = set()
  for i in range(24):
    scene, label = toybox.scene_of("conjunction", "train", i, 6, 0)
    of = {thing.shape: thing for thing in scene.objects}
    assert set(of) == {"star", "circle"} and label == i % 4

    def way(thing):
      moved = np.array([thing.x[-1] - thing.x[0], thing.y[-1] - thing.y[0]])
      return (("left", "up") if moved.sum() < 0 else ("right", "down"))[int(moved[1] != 0)]

    assert way(of["star"]) == toybox.classes_of("conjunction")[label] != way(of["circle"])
    ways.add(scene.objects[0].shape)
  assert ways == {"star", "circle"}


def test_noise_is_new_in_every_frame_and_leaves_the_scene_as_it_is():
  scene, tags = toybox.scene_of("noisy_tags", "val", 0, 4, 0)
  assert tags and toybox.classes_of("noisy_tags") == toybox.classes_of("tags")
  clear = toybox.render(dataclasses.replace(scene, noise=0.0), (32, 32)).astype(float)
  noise = toybox.render(scene, (32, 32)).astype(float) - clear
  inside = (clear > 80) & (clear < 170)  # what is brighter or darker is cut off
  assert 40 < noise[inside].std() < 75 and abs(noise[inside].mean()) < 3
  assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
  np.testing.assert_array_equal(toybox.render(scene, (32, 32)), toybox.render(scene, (32, 32)))


# ---------------------------------------------------------------- layouts


def expected(kind, split, count, frames=6):
  classes = toybox.classes_of(kind)
  found = (toybox.scene_of(kind, split, i, frames, 0)[1] for i in range(count))
  return [tuple(sorted(classes[c] for c in (x if isinstance(x, tuple) else (x,)))) for x in found]


def named(dataset):
  """Labels by name, in the order of the files."""
  labels_of = lambda r: r.label if isinstance(r.label, tuple) else (r.label,)
  return [tuple(sorted(dataset.classes[c] for c in labels_of(r))) for r in sorted(dataset.records, key=lambda r: r.id)]


@pytest.mark.parametrize("layout, kind", [
    ("folder", "conjunction"), ("csv", "motion"), ("hvu", "noisy_tags"), ("folder", "appearance")])
def test_a_layout_is_read_back_with_equal_labels(tmp_path, layout, kind):
  summary = toybox.build(str(tmp_path), labels=kind, layout=layout, split=(10, 6, 0), **SMALL)
  assert summary["videos"] == summary["rendered"] == 16
  for split, count in (("train", 10), ("val", 6)):
    d = datasets.load(layout, str(tmp_path), split)
    assert len(d) == count and d.multilabel == (layout == "hvu") and not d.missing
    assert named(d) == expected(kind, split, count)
    assert set(d.classes) == set(toybox.classes_of(kind))
  with open_video(d.records[0].media) as video:
    assert video.num_frames == 6


def test_ucf101_layout_is_read_back_with_equal_labels(tmp_path):
  toybox.build(str(tmp_path), labels="motion", layout="ucf101", split=(10, 6, 0), **SMALL)
  for split, count in (("train", 10), ("val", 6)):
    d = datasets.load("ucf101", str(tmp_path), split)
    assert len(d) == count and set(d.classes) == {n.capitalize() for n in labels.MOTION}
    by_number = sorted(d.records, key=lambda r: r.id[-8:])
    assert [(d.classes[r.label].lower(),) for r in by_number] == expected("motion", split, count)


def test_tags_keep_their_six_kinds(tmp_path):
  toybox.build(str(tmp_path), labels="tags", split=(4, 2, 0), **SMALL)
  d = datasets.load("hvu", str(tmp_path), "train")
  assert {k: {d.classes[c] for c in ids} for k, ids in d.categories.items()} == {
      k: set(tags) for k, tags in labels.TAGS.items()}


@pytest.mark.parametrize("options, message", [
    (dict(labels="motoin"), "no label set 'motoin'.*nearest: 'motion'"),
    (dict(layout="foldr"), "no layout 'foldr'.*nearest: 'folder'"),
    (dict(labels="tags", layout="folder"), "layout 'folder'; use layout=hvu"),
    (dict(labels="motion", layout="hvu"), "layout 'hvu'; use layout=folder or layout=csv"),
    (dict(labels="kitchen", features="prototype"), "features 'prototype'.*nearest: 'prototypes'"),
    (dict(size=(33, 32)), r"size \(33, 32\)"), (dict(size=64), "size 64 must be two"),
    (dict(size="ab"), "size ab must be two"), (dict(size=(64.0, 64)), "size .* must be two"),
    (dict(frames=0), "frames and fps positive"), (dict(frames="ten"), "frames=ten"), (dict(fps="x"), "fps=x"),
    (dict(seed=-1), "seed=-1"), (dict(split=(8, -1, 0)), r"split=\(8, -1, 0\)"), (dict(split="x"), "split=x"),
    (dict(split=(1, 1, 1, 1)), "must be the numbers of training"),
])
def test_what_cannot_be_built_is_said_in_one_line_and_leaves_nothing(tmp_path, options, message):
  with pytest.raises(errors.ConfigError, match=message) as e:
    toybox.build(str(tmp_path / "out"), **{"split": (2, 2, 0), "workers": 1, **options})
  assert "\n" not in str(e.value) and not os.path.exists(tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.DataError, match="cannot write Toybox"):
    toybox.build(str(tmp_path / "file"), split=(1, 1, 0), **SMALL)


def test_a_folder_of_another_set_is_refused_and_left_as_it_was(tmp_path):
  out = str(tmp_path / "toy")
  toybox.build(out, labels="motion", split=(3, 1, 0), **SMALL)
  before = contents(out)
  for changed, was in ((dict(labels="biased"), "labels=motion"), (dict(seed=1), "seed=0"), (dict(fps=5.0), "fps=6.0"),
                       (dict(layout="csv"), "layout=folder"), (dict(size=(16, 32)), r"size=\[32, 32\]")):
    with pytest.raises(errors.DataError, match=f"holds a Toybox of {was}; remove it or choose another"):
      toybox.build(out, **{"labels": "motion", "split": (3, 1, 0), **SMALL, **changed})
  assert contents(out) == before
  assert toybox.build(out, labels="motion", split=(5, 2, 0), **SMALL)["rendered"] == 3  # more of the same


def test_a_folder_of_other_files_is_refused_and_left_as_it_was(tmp_path):
  (tmp_path / "clips.csv").write_text("path,label\n")
  with pytest.raises(errors.DataError, match="is not empty and holds no Toybox"):
    toybox.build(str(tmp_path), split=(1, 1, 0), **SMALL)
  assert os.listdir(tmp_path) == ["clips.csv"]


def test_test_videos_are_annotated_in_every_layout(tmp_path):
  for layout, kind in (("folder", "motion"), ("csv", "motion"), ("hvu", "tags")):
    toybox.build(str(tmp_path / layout), labels=kind, layout=layout, split=(2, 1, 3), **SMALL)
    d = datasets.load(layout, str(tmp_path / layout), "test")
    assert named(d) == expected(kind, "test", 3)


FULL = """
import resource, signal, sys
from vidx import errors
from vidx.data import toybox
if __name__ == "__main__":
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file may not grow, as on a full disk
  resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
  try:
    toybox.build(sys.argv[1], split=(20, 0, 0), size=(64, 64), frames=6, workers=int(sys.argv[2]))
  except errors.DataError as e:
    print(e)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_takes_no_more_is_said_in_one_line_and_leaves_no_half_video(tmp_path, workers):
  script, out = tmp_path / "full.py", tmp_path / "toy"
  script.write_text(FULL)
  ran = subprocess.run([sys.executable, str(script), str(out), str(workers)], capture_output=True, text=True)
  assert ran.returncode == 0 and len(ran.stdout.splitlines()) == 1, ran.stderr
  assert ran.stdout.startswith(f"cannot write Toybox to {out}")
  assert list(contents(out)) == ["toybox.json"]


# ---------------------------------------------------------------- what is heard as well as seen


def loudest(wave, low, high):
  """Hz of the loudest frequency in a range."""
  spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
  hertz = np.arange(len(spectrum)) * 16000 / len(wave)
  return hertz[np.where((hertz > low) & (hertz < high), spectrum, 0).argmax()]


def test_a_tone_s_class_is_a_direction_and_a_pitch_and_hums_are_the_clip_s_own():
  hums = []
  for index, name in enumerate(labels.TONES):
    scene, label = toybox.scene_of("tones", "train", index, 24, seed=0)
    assert label == index
    wave = toybox.sound(scene, 12)
    assert loudest(wave, 100, 2800) == pytest.approx(labels.PITCHES[name.split()[1]], rel=0.11)
    hums.append(loudest(wave, 2900, 8000))
    way = np.ptp(scene.objects[0].x), np.ptp(scene.objects[0].y)
    assert (way[0] > way[1]) == (name.split()[0] in ("left", "right"))
  assert np.std(hums) > 500


def test_beats_are_in_step_with_flashes_or_not():
  for index in range(6):
    scene, label = toybox.scene_of("beats", "train", index, 24, seed=1)
    seen, heard = scene.objects[0].size > 0, scene.loudness > 0
    assert seen.sum() == heard.sum() > 0 and (seen == heard).all() == (label == 0)
    wave = toybox.sound(scene, 12)[:24 * 1333].reshape(24, 1333)
    loud = np.sqrt((wave[:, 200:-200] ** 2).mean(1)) > 0.05
    np.testing.assert_array_equal(loud, heard)
