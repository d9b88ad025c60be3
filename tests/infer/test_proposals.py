import json
import os
import pathlib
import runpy
import types

import cv2
import numpy as np
import pytest

from vidx import cli, errors
from vidx.data import coco_masks
from vidx.data.records import Media, Record, media_of
from vidx.data.toybox.write import write_video
from vidx.infer.proposals import candidates, compare, growing, masks, motion, propose, settings, stages
from vidx.metrics import tubes as metrics
from vidx.train import config as config_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLAIMS = runpy.run_path(str(ROOT / "configs/claims/proposals.py"))


def tiny():
  c = CLAIMS["small"]()
  c.boxes.update(per_map=40, refine=1)
  c.masks.update(grid=32, samples=3000, rounds=2, iterations=40, gmm_steps=3)
  c.growing.steps = 5
  c.tubes.masked = 1
  return c


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
  """A file of a rendered video, its boxes, and what is found in it."""
  folder = tmp_path_factory.mktemp("rendered")
  frames, boxes = CLAIMS["rendered"](0, frames=12)
  write_video(str(folder / "square.mp4"), frames, 12.0)
  done = propose.main([str(folder / "square.mp4")], str(folder / "out"), tiny(), lambda text: None)
  return folder, boxes, done[0]["found"]


def test_the_object_is_among_the_first_five_tubes(rendered):
  _, boxes, found = rendered
  assert metrics.best_of(metrics.frame_iou(found.boxes, boxes).mean(1), 5)[1] > 0.6  # of 40 boxes a map
  assert found.boxes.shape[1:] == (12, 4) and (np.diff(found.score) <= 0).all() and found.notes == []


def test_the_file_has_boxes_and_masks_that_other_tools_read(rendered):
  folder, _, found = rendered
  held = json.loads((folder / "out/square.json").read_text())
  assert held["frames"] == list(range(12)) and len(held["tubes"]) == len(found.score)
  first = held["tubes"][0]
  mask = coco_masks.mask_of(first["masks"][3], 96, 128)
  np.testing.assert_array_equal(mask, found.mask(0)[3])
  y, x = np.nonzero(mask)
  np.testing.assert_allclose(first["boxes"][3], [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=0.01)


def test_a_second_call_takes_what_is_there_and_a_change_makes_anew_what_depends_on_it(rendered):
  folder, _, found = rendered
  again = propose.main([str(folder / "square.mp4")], str(folder / "out"), tiny(), lambda text: None)[0]["found"]
  assert set(again.seconds.values()) == {0.0}
  np.testing.assert_array_equal(again.boxes, found.boxes)
  c = tiny()
  c.tubes.dp, c.tubes.masked = False, -1
  other = propose.main([str(folder / "square.mp4")], str(folder / "out"), c, lambda text: None)[0]["found"]
  assert {k for k, v in other.seconds.items() if v} == {"tubes"} and not other.masks
  broken = next((folder / "out/stages/square").glob("features_*.npz"))
  broken.write_bytes(broken.read_bytes()[:100])
  c.growing.detector = "lda"
  other = propose.main([str(folder / "square.mp4")], str(folder / "out"), c, lambda text: None)[0]["found"]
  assert other.seconds["features"] > 0 and other.seconds["boxes"] == 0


def test_objectness_is_the_product_of_both_scores_of_every_box(rendered):
  folder, *_ = rendered
  block = np.load(folder / "out/stages/square/boxes_000000.npz")
  assert block["boxes"].shape == (12, 80, 4)
  wanted = np.where(block["valid"], block["appearance"] * (block["motion"] + 1e-3), -1)
  np.testing.assert_allclose(block["objectness"], wanted, rtol=1e-5)
  assert (block["motion"][:, :40] > 0).any() and (block["appearance"][:, 40:] > 0).any()


def images(folder, frames):
  folder.mkdir(parents=True)
  for i, frame in enumerate(frames):
    cv2.imwrite(str(folder / f"{i:03d}.png"), frame[..., ::-1])
  return str(folder)


def found_in(path, tmp_path):
  c = tiny()
  c.tubes.masked = -1
  done = propose.main([path], str(tmp_path / "out"), c, lambda text: None)
  return done[0]


def test_one_frame_no_motion_and_a_cut_are_noted(tmp_path):
  frames, _ = CLAIMS["rendered"](1, frames=6)
  one = found_in(images(tmp_path / "one", frames[:1]), tmp_path)["found"]
  assert one.boxes.shape[1] == 1 and len(one.score) and "one frame" in one.notes[0]
  still = found_in(images(tmp_path / "still", frames[[0, 0, 0]]), tmp_path)["found"]
  assert "nothing moves" in still.notes[0] and np.isfinite(still.score).all() and len(still.score)
  cut = found_in(images(tmp_path / "cut", np.concatenate([frames[:3], 255 - frames[3:] // 2])), tmp_path)["found"]
  assert any("cut before frame 3" in note for note in cut.notes)


def test_frames_of_several_sizes_and_mistakes_are_one_line(tmp_path, capsys):
  frames, _ = CLAIMS["rendered"](1, frames=2)
  folder = images(tmp_path / "mixed", [frames[0], frames[1][:80]])
  assert "differ in size" in found_in(folder, tmp_path)["error"]
  for argv, words in ((["propose"], "no out"), (["propose", "--out=x"], "no videos"),
                      (["propose", "--out=x", "y.mp4", "--config.growing.mode=nne"], "nearest: 'none'"),
                      (["propose", "--out=x", "y.mp4", "--config.growng.mode=none"], "unknown key"),
                      (["propose", "--out=x", "y.mp4", f"--config={ROOT}/configs/toybox/tsm.py"], "none of proposals"),
                      (["propose", "--out=x", "y.mp4", "--config.flow.source=files"], "flow.files"),
                      (["propose", "--out=x", "y.mp4", "--config.features.name=trunk"], "features.workdir")):
    assert cli.main(argv) == 2
    line = capsys.readouterr().err
    assert words in line and line.count("\n") == 1


def random_video(frames=31, each=12, size=10, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(frames, each, size)).astype("f")
  corner = rng.uniform(0, 50, (frames, each, 2))
  return x / np.linalg.norm(x, axis=-1, keepdims=True), np.concatenate([corner, corner + 20], -1).astype("f")


@pytest.mark.parametrize("seeds, reach", [([15], 3), ([0, 30], 3), ([3, 9, 20], 3), ([29], 5)])
def test_a_round_covers_exactly_the_frames_within_reach(seeds, reach):
  x, boxes = random_video()
  read = lambda i: (x[8 * i:8 * i + 8], boxes[8 * i:8 * i + 8], np.ones((len(x[8 * i:8 * i + 8]), 12), bool))
  instances = np.full((2, 31), -1)
  instances[:, seeds] = 4
  grown = growing.grow(read, 4, 8, 31, instances, reach=reach, steps=3, negatives=5)
  away = np.abs(np.arange(31)[:, None] - np.array(seeds)).min(1)
  for i, covered in enumerate(grown.covered):
    np.testing.assert_array_equal(covered, np.tile(away <= reach * i, (2, 1)))
  assert len(grown.covered) == 1 + -(-away.max() // reach) and (grown.instances >= 0).all()
  fixed = growing.grow(read, 4, 8, 31, instances, mode="none", steps=3)
  assert len(fixed.covered) == 1


def test_negatives_are_boxes_away_from_the_instance_of_their_own_frame():
  x, boxes = random_video(frames=3)
  w = np.random.default_rng(0).normal(size=(2, 11)).astype("f")
  own = np.array([[0, 5, -1], [2, -1, 7]])
  rows, some = growing._hardest(x, boxes, np.ones((3, 12), bool), own, w, 0.4, 4)
  for k in range(2):
    for t in range(3):
      away = metrics.frame_iou(boxes[t], boxes[t, own[k, t]]) < 0.4 if own[k, t] >= 0 else np.zeros(12, bool)
      score = np.where(away, x[t] @ w[k, :-1], -np.inf)
      wanted = [r for r in np.argsort(-score)[:4] if away[r]]
      assert np.asarray(rows)[k, t][np.asarray(some)[k, t]].tolist() == wanted


def test_parts_that_are_small_or_away_from_the_box_are_left_out():
  mask = np.zeros((20, 30), bool)
  mask[2:8, 2:8], mask[2:8, 10:14], mask[10:12, 3:5], mask[2:18, 20:30] = True, True, True, True
  kept = masks.parts(mask, np.array([0, 0, 15, 15.0]), 0.6)
  assert kept[3, 3] and kept[3, 11] and not kept[10, 3] and not kept[3, 25]
  assert not masks.parts(mask, np.array([0, 18, 5, 20.0]), 0.6).any()


def test_edges_are_ridges_along_what_they_bound():
  image = np.zeros((30, 40, 1), "f")
  image[:, 20:] = 1
  size, ridges, along = candidates.edges(image, 1.0)
  assert size.max() == 1 and (ridges[5:25] > 0.5).sum(1).max() <= 2
  np.testing.assert_allclose(along[10, 19] % np.pi, np.pi / 2, atol=1e-3)


class Forests:
  """Structured forests as OpenCV has them, of an image with a vertical edge: the orientation is that of its normal."""

  def detectEdges(self, x):
    assert x.dtype == np.float32 and x.shape[-1] == 3
    return candidates.edges(x, 1.0)[0]

  def computeOrientation(self, size):
    return np.full_like(size, 3.1)

  def edgesNms(self, size, orientation):
    np.testing.assert_array_equal(orientation, np.full_like(size, 3.1))
    return size


def test_forests_say_the_direction_along_an_edge_as_gradients_do(monkeypatch):
  module = types.SimpleNamespace(createStructuredEdgeDetection=lambda path: Forests())
  monkeypatch.setattr(cv2, "ximgproc", module, raising=False)
  image = np.zeros((30, 40, 1), "f")
  image[:, 20:] = 1
  size, ridges, along = candidates.forests.__wrapped__("model.yml.gz")(image)
  assert size.max() == 1 and ridges is size
  np.testing.assert_allclose(along, 3.1 - np.pi / 2, atol=1e-6)  # 3.1 is nearly that of the gradient, pi


@pytest.mark.parametrize("name, words", [("otb2013", ("full", "boxes", "fixed")), ("segtrack_v2", (None,)),
                                         ("small", (None,))])
def test_configs_can_be_run_and_say_how(name, words):
  file = ROOT / f"configs/proposals/{name}.py"
  assert f"--config=configs/proposals/{name}.py" in file.read_text()
  for word in words:
    c = settings.load(f"{file}:{word}" if word else str(file), ["boxes.top=20"])
    assert c.boxes.top == 20
  assert not config_lib.differences(settings.base(), settings.load(""))


def numbers(c, before=""):
  for key, value in c.items():
    if hasattr(value, "items"):
      yield from numbers(value, f"{before}{key}.")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
      yield before + key


def test_every_number_of_the_settings_has_a_range_that_its_default_is_in():
  assert set(numbers(settings.base())) == set(settings.NUMBERS)
  settings.check(settings.base())


@pytest.mark.parametrize("override", [
    "boxes.overlap=1", "boxes.overlap=1.5", "boxes.overlap=0", "boxes.area=0", "boxes.area=-5", "boxes.aspect=0",
    "boxes.aspect=0.5", "video.frames=-5", "video.short_side=-1", "video.stride=0", "edges.smooth=-1", "seed=-1",
    "seed=4294967296", "growing.regularisation=0", "growing.overlap=0", "growing.steps=-1", "masks.iterations=-1",
    "masks.gmm=-1", "masks.largest=1", "masks.changed=-0.1", "features.components=-1", "tubes.masked=-2",
    "boxes.area=1e999", "clusters.k=0,9"])
def test_a_number_that_cannot_be_is_one_line_before_anything_is_begun(override, tmp_path, capsys):
  assert cli.main(["propose", f"--out={tmp_path}/out", "y.mp4", f"--config.{override}"]) == 2
  line = capsys.readouterr().err
  assert override.partition("=")[0] in line and line.count("\n") == 1 and not os.listdir(tmp_path)


def test_a_number_that_cannot_be_is_told_from_python_too(tmp_path):
  c = tiny()
  c.boxes.overlap = 1.0
  with pytest.raises(errors.ConfigError, match="boxes.overlap=1: write a number from 0.05 to 0.9"):
    propose.propose(media_of("y.mp4"), str(tmp_path / "stages"), c)


STAGES = "flow", "motion", "boxes", "components", "features", "clusters", "tubes", "masks_000"


class Keys(stages.Stages):
  """Makes nothing: of two frames of 24 x 32 pixels each stage is what takes no time, and its key is noted."""

  made = dict(
      motion={"scale": np.ones(())}, components={"mean": np.zeros(3, "f"), "axes": np.eye(3, dtype="f")},
      clusters={"seeds": np.zeros((1, 2), int), "score": np.ones(1)},
      tubes={"boxes": np.tile(np.array([4, 6, 16, 18], "f"), (1, 2, 1)), "score": np.ones(1, "f")},
      masks_000={"boxes": np.zeros((2, 4), "f"), "counts": np.array([24 * 32] * 2), "lengths": np.ones(2, int)},
      flow={"cut": np.zeros(2, bool)}, boxes={"objectness": np.zeros((2, 3)), "valid": np.ones((2, 3), bool)},
      features={})

  def one(self, name, key, make):
    self._say(name)
    self.seconds[name] = 0.0
    self.keys[name] = key
    return self.made[name]

  def blocks(self, name, key, count, make):
    made = self.one(name, key, make)
    return types.SimpleNamespace(count=count, whole=lambda *names: [made[n] for n in names])


def small_frames(colour=0):
  return np.full((2, 24, 32, 3), colour, np.uint8)


def touched(path):
  """Writes as many bytes anew, a second later."""
  path = pathlib.Path(path)
  changed = path.stat().st_mtime_ns + 10 ** 9
  path.write_bytes(path.read_bytes())
  os.utime(path, ns=(changed, changed))


@pytest.mark.parametrize("what, first", [("", None), ("video", "flow"), ("frames", "flow"), ("flow", "flow"),
                                         ("model", "boxes"), ("weights", "components"), ("pixels", "masks_000"),
                                         ("seed", "components")])
def test_what_depends_on_a_file_or_the_seed_is_made_anew_where_it_is_another(what, first, tmp_path, monkeypatch):
  path = images(tmp_path / "square", small_frames())
  if what == "video":
    write_video(path := str(tmp_path / "square.mp4"), small_frames(), 12.0)
  files = {"video": path, "frames": f"{tmp_path}/square/001.png", "flow": f"{tmp_path}/flow/square/0.npy",
           "model": f"{tmp_path}/model.yml.gz", "weights": f"{tmp_path}/run/checkpoints/5/model/data"}
  files["pixels"] = files["weights"]
  for file in ("flow", "model", "weights"):
    os.makedirs(os.path.dirname(files[file]), exist_ok=True)
    pathlib.Path(files[file]).write_text("as it was")
  c = tiny()
  c.features.workdir = f"{tmp_path}/run"
  if what == "flow":
    c.flow.update(source="files", files=f"{tmp_path}/flow/{{name}}")
  if what == "model":
    c.edges.model = files["model"]
  if what == "weights":
    c.features.update(name="trunk", site="res4")
  if what == "pixels":
    c.masks.update(pixels="trunk", site="res4")
  monkeypatch.setattr(propose.stages_lib, "Stages", Keys)

  def keys():
    monkeypatch.setattr(Keys, "keys", {}, raising=False)
    propose.propose(media_of(path), str(tmp_path / "stages"), c)
    return Keys.keys

  before = keys()
  assert tuple(before) == STAGES
  if what == "seed":
    c.seed = 1
  elif what:
    touched(files[what])
  changed = tuple(name for name, key in keys().items() if key != before[name])
  assert changed == (STAGES[STAGES.index(first):] if first else ())


def test_folders_keep_what_follows_a_dot_in_their_names(tmp_path, monkeypatch):
  frames = np.zeros((2, 8, 8, 3), np.uint8)
  paths = [images(tmp_path / name, frames) for name in ("clip.1", "clip.2")] + [str(tmp_path / "clip.mp4")]
  monkeypatch.setattr(propose, "one", lambda media, name, *_: name)
  assert propose.main(paths, str(tmp_path / "out"), tiny()) == ["clip.1", "clip.2", "clip"]
  with pytest.raises(errors.DataError, match="would both become clip.json"):
    propose.main([*paths, str(tmp_path / "clip.avi")], str(tmp_path / "out"), tiny())


def test_motion_counts_as_1_at_the_99th_percentile_of_the_whole_video(tmp_path):
  path = images(tmp_path / "still", np.zeros((4, 24, 32, 3), np.uint8))
  flow = np.random.default_rng(0).normal(0, [[[[1]]], [[[2]]], [[[40]]]], (3, 24, 32, 2)).astype(np.float16)
  for t, one in enumerate(flow):
    os.makedirs(tmp_path / "flow", exist_ok=True)
    np.save(tmp_path / f"flow/{t}.npy", one.astype("f"))
  c = settings.base()
  c.flow.update(source="files", files=str(tmp_path / "flow"))
  video = motion.Video(media_of(path), c.video, "still")
  scale = motion.Motion(video, c.flow, stages.Stages(str(tmp_path / "stages"))).scale
  far = np.linalg.norm(flow[[0, 1, 2, 2]].astype("f"), axis=-1)  # the last frame has no flow of its own
  np.testing.assert_allclose(scale, np.percentile(far, 99), rtol=0.01)


class Scene:
  """A square of one colour on another as a video of two frames, of which nothing moves."""

  height = width = 160
  scale = 0.0

  def __len__(self):
    return 2

  def __getitem__(self, t):
    frame = np.full((160, 160, 3), (40, 60, 200), np.uint8)
    frame[20:140, 20:140] = 220, 120, 30
    return frame

  def seen(self, t):
    return np.zeros((160, 160, 2), "f")


def test_a_large_mask_is_sharpened_as_a_whole_with_the_iterations_that_are_asked_for(monkeypatch):
  c, asked, cut = tiny(), [], masks.tv_cut.tv_cut
  c.masks.update(iterations=130, gmm=2)
  monkeypatch.setattr(masks.tv_cut, "tv_cut", lambda *a: asked.append(a[-1]) or cut(*a))
  boxes = np.tile(np.array([60, 60, 100, 100], "f"), (2, 1))  # whose region is the square
  labels = np.ones((2, 32, 32), bool)
  found, refined = masks.Segmenter(Scene(), Scene(), c)._whole(boxes, labels, 0)
  truth = Scene()[0][..., 0] == 220
  assert asked == [130] and metrics.mask_overlaps(found, np.stack([truth] * 2)).min() > 0.98
  np.testing.assert_allclose(refined, np.tile([20, 20, 140, 140], (2, 1)), atol=1)


def found_of(boxes, shown, size=(6, 8)):
  """What `propose` might find: boxes (K, N, 4) with masks of the same places."""
  masked = np.zeros((*boxes.shape[:2], *size), bool)
  for k, t in np.ndindex(*boxes.shape[:2]):
    x0, y0, x1, y1 = boxes[k, t].astype(int)
    masked[k, t, y0:y1, x0:x1] = True
  runs = [[{"size": list(size), "counts": coco_masks.to_counts(m)} for m in tube] for tube in masked]
  return propose.Found("x", "x", np.arange(shown), size, np.ones(len(boxes)), boxes, boxes, runs, [], {}, 25.0)


def test_an_object_that_is_in_no_frame_has_neither_overlap_nor_rank_nor_wrong_pixels(tmp_path):
  seen, away = np.zeros((2, 6, 8, 3), np.uint8), np.zeros((2, 6, 8, 3), np.uint8)
  seen[:, 1:3, 2:5] = 255
  files = [tuple(sorted(str(p) for p in pathlib.Path(images(tmp_path / name, x)).iterdir()))
           for name, x in (("seen", seen), ("away", away))]
  boxes = np.tile(np.array([[[0, 0, 2, 2]], [[2, 1, 5, 3]]], "f"), (1, 2, 1))
  of = lambda some: compare.of_record(Record("x", Media("x"), extra={
      "objects": ("1",) * len(some), "masks": some}), found_of(boxes, 2))
  overlaps = {"both": of(files), "away": of(files[1:]), "seen": of(files[:1])}
  figures = compare.summary(overlaps, {"away": ("OCC",), "both": ("IV",)})
  assert np.isnan(figures.pop("auc/OCC"))
  assert figures == pytest.approx({
      "auc": 20 / 21, "auc/IV": 20 / 21, "box_rank": 2, "box_first": 0, "box_first_5": 1, "per_object": 1,
      "per_sequence": 1, "rank": 2, "pixels": 0, "first": 0, "first_5": 1})
  assert np.isnan(list(compare.summary({"away": overlaps["away"]}, {}).values())).all()


def test_sequences_that_share_the_name_of_their_folders_are_told_apart_by_their_own(tmp_path, monkeypatch, capsys):
  for name, colour, line in (("Deer", 50, "5,7,12,12\n"), ("Dog", 200, "0,0,0,0\n")):
    images(tmp_path / f"d/{name}/img", small_frames(colour))
    (tmp_path / f"d/{name}/groundtruth_rect.txt").write_text(line * 2)
    (tmp_path / f"flow/{name}").mkdir(parents=True)
    np.save(tmp_path / f"flow/{name}/0.npy", np.zeros((24, 32, 2), "f"))
  monkeypatch.setattr(propose.stages_lib, "Stages", Keys)
  monkeypatch.setattr(Keys, "keys", {}, raising=False)
  assert cli.main(["propose", "--dataset=otb2013", f"--root={tmp_path}/d", f"--out={tmp_path}/o", "--show",
                   "--config.tubes.masked=-1", "--config.flow.source=files",
                   f"--config.flow.files={tmp_path}/flow/{{name}}"]) == 0
  shown = {name: cv2.imread(f"{tmp_path}/o/{name}.png")[-1, -1, 0] for name in ("Deer", "Dog")}
  assert shown == {"Deer": 50, "Dog": 200}
  assert set(os.listdir(tmp_path / "o")) == {"figures.json", "index.html", *(
      name + ending for name in shown for ending in (".json", ".png", ".mp4"))}
  said = capsys.readouterr().err
  assert "Deer: boxes\n" in said and "Dog: boxes\n" in said and "img: " not in said
  figures = json.loads((tmp_path / "o/figures.json").read_text())
  assert figures["auc"] == pytest.approx(2000 / 21) and figures["box_rank"] == 1  # of Deer: Dog is not annotated


def test_stages_of_another_key_are_made_anew(tmp_path):
  made = []
  kept = stages.Stages(str(tmp_path))
  fill = lambda a, b: made.append((a, b)) or {"x": np.arange(a, b)}
  for key in ("a", "a", "b"):
    found = kept.blocks("x", key, 70, fill)
    np.testing.assert_array_equal(found.whole("x")[0], np.arange(70))
    assert found.at(69, "x") == 69
  assert made == 2 * [(0, 32), (32, 64), (64, 70)]


def test_a_stage_is_opened_once_and_one_that_is_broken_is_made_anew(tmp_path, monkeypatch):
  kept, opened, load = stages.Stages(str(tmp_path)), [], np.load
  monkeypatch.setattr(stages.np, "load", lambda *a, **k: opened.append(a) or load(*a, **k))
  for _ in range(2):
    assert kept.one("x", "a", lambda: {"x": np.arange(1000)})["x"].sum() == 499500
  assert len(opened) == 2
  found = kept.blocks("y", "a", 40, lambda a, b: {"x": np.arange(a, b)})
  for path in (tmp_path / "x.npz", tmp_path / "y_000000.npz"):
    content = bytearray(path.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 1  # of the first array, not of what says what is there
    path.write_bytes(content)
  assert kept.one("x", "a", lambda: {"x": np.ones(3)})["x"].sum() == 3
  with pytest.raises(errors.DataError, match="y_000000.npz' is broken"):
    found.at(0, "x")


def test_sequences_are_compared_with_their_annotation_and_shown(tmp_path, capsys):
  frames, boxes = CLAIMS["rendered"](0, frames=4)
  images(tmp_path / "d/JPEGImages/480p/square", frames)
  truth = np.zeros((4, 96, 128, 3), np.uint8)
  for t, (x0, y0, x1, y1) in enumerate(boxes.astype(int)):
    truth[t, y0:y1, x0:x1] = 255
  images(tmp_path / "d/Annotations/480p/square", truth)
  text = f"import runpy\n\ndef get_config():\n  return runpy.run_path({__file__!r})['tiny']()\n"
  (tmp_path / "tiny.py").write_text(text)
  assert cli.main(["propose", "--dataset=davis", f"--root={tmp_path}/d", f"--out={tmp_path}/o", "--show", "--quiet",
                   f"--config={tmp_path}/tiny.py"]) == 0
  figures = json.loads((tmp_path / "o/figures.json").read_text())
  assert {"auc", "box_rank", "per_object", "per_sequence", "rank", "pixels", "first", "first_5"} <= set(figures)
  out = capsys.readouterr().out
  assert "per_object: " in out and (tmp_path / "o/square.mp4").stat().st_size > 500
  assert "data:video/mp4" in (tmp_path / "o/index.html").read_text()
  with pytest.raises(errors.ConfigError, match="says no objects"):
    (tmp_path / "v/val/x.mp4").parent.mkdir(parents=True)
    (tmp_path / "v/val/x.mp4").write_bytes(b"x")
    compare.main("videos", str(tmp_path / "v"), "val", str(tmp_path / "o"), tiny(), print)
