"""Boxes over time on real frames: a snippet of ImageNet VID through a detector with a memory, and boxes of the masks of
DAVIS through linking and measure."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.conftest import line
import vidx
from vidx import cli
from vidx.data import datasets, transforms
from vidx.data.datasets import object_tracks
from vidx.infer import detect, frame_windows, load, save
from vidx.metrics import boxes as metrics
from vidx.train import config as config_lib

pytestmark = pytest.mark.usefixtures("plain_convolutions")

ROOM, CLASSES = (48, 80), ("cat", "dog", "fox")
FIELDS = dict(num_classes=3, trunk="resnet_18", stages=(1, 1), strides=(4, 1), width=4, inner=8, features=8,
              proposals="rpn", rpn=dict(features=8, sizes=(16, 28), ratios=(1,), count=6, before=24))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run of a tiny STMN with random weights, whose heads tell boxes apart."""
  folder = tmp_path_factory.mktemp("run")
  model = vidx.create_model("stmn", **FIELDS)
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), np.zeros((1, 1, *ROOM, 3), np.float32))
  variables = jax.tree.map(np.asarray, variables)
  for name in ("cls", "box"):
    head = variables["params"]["heads"][name]
    head["kernel"] = 300 * head["kernel"]
  save.save_model(str(folder), "stmn", FIELDS, variables,
                  dict(frames=3, stride=2, sampler="stride", short_side=48, long_side=80, sizes=(ROOM,)), CLASSES)
  config = config_lib.from_json((folder / "config.json").read_text())
  config.task = dict(name="detection")
  (folder / "config.json").write_text(config_lib.to_json(config))
  return folder


@pytest.fixture(scope="module")
def detector(run):
  """Of the run; its settings are changed by who uses it, its programs are compiled once."""
  return detect.VideoDetector(load.load_checkpoint(str(run)))


# ---------------------------------------------------------------- a video is read once, and is as if it were held whole


def drawn(frames):
  """A video in memory, as a reader."""
  squares = np.random.default_rng(frames).integers(256, size=(frames, ROOM[0] // 8, ROOM[1] // 8, 3), dtype=np.uint8)
  pictures = squares.repeat(8, 1).repeat(8, 2)
  return types.SimpleNamespace(num_frames=frames, frames=lambda index: pictures[np.asarray(index)])


@pytest.fixture(scope="module")
def whole(run):
  """(video, settings) -> (P, 1 + C + 4) per frame: all frames are encoded at once, and windows cut out unpadded."""
  loaded = load.load_checkpoint(str(run))
  model, variables, task = loaded.model, loaded.variables, loaded.task
  data, extent = loaded.config.data, np.array([ROOM], np.float32)

  @jax.jit
  def encode(x):
    x, seen = model.apply(variables, x, method="encode")
    return x, model.apply(variables, x, method=lambda m, y: m.swap.forward(y))[0], *model.apply(
        variables, seen, extent, method="propose")[0]

  @jax.jit
  def look(x, rois, mask, ahead):
    memory, _ = model.apply(variables, x, method="remember")
    if ahead is not None:
      memory = jnp.concatenate([ahead, memory[..., memory.shape[-1] // 2:]], -1)
    found = []
    for _ in range(2):
      out = model.apply(variables, memory, rois, method="detect")
      boxes, scores = task.decoded({**out, "rois": rois, "roi_mask": mask}, extent)
      found.append(jnp.concatenate([scores.max(-1, keepdims=True), scores, boxes], -1))
      rois, mask = boxes, mask * (found[-1][..., 0] >= detect.AGAIN)
    return jnp.concatenate(found, 2)[0]

  def boxes(video, settings, step):
    length = video.num_frames
    pictures = video.frames(np.arange(length))[None]
    parts = [(pictures[:, i::step] / 255 - np.array(data.mean)) / np.array(data.std) for i in range(step)]
    encoded, found = [encode(np.float32(x)) for x in parts], [[] for _ in range(length)]
    for window in frame_windows.windows(length, size=settings.size, step=step, mode=settings.mode):
      at = np.array(window.frames) // step
      x, ahead, rois, mask = (y[:, at] for y in encoded[window.sequence])
      rows = np.asarray(look(x, rois, mask, ahead if settings.mode == "long" else None))
      for i in window.gives:
        found[window.frames[i]] += [r for r in rows[i] if r[0] > detect.LEAST]
    return found

  return boxes


@pytest.mark.parametrize("mode", [m for m in frame_windows.MODES if m != "multi_window"])
def test_a_video_that_is_read_once_has_the_boxes_of_one_that_is_held_whole(detector, whole, mode):
  video = drawn(10)
  detector.settings = detect.how(f"{mode},size=3")
  expected = whole(video, detector.settings, 2)
  in_order = lambda rows: np.array(sorted(map(tuple, np.round(rows, 3)), key=lambda r: (-r[0], r[4:])))
  for number, boxes, scores in detector.frames(video):
    own = np.concatenate([scores.max(-1, keepdims=True), scores, boxes], -1)
    assert len(own) == len(expected[number]) > 0 and own[:, 0].std() > 0.05
    np.testing.assert_allclose(in_order(own), in_order(np.array(expected[number])), atol=5e-3)
  assert number == 9


@pytest.mark.parametrize("scales", ["", ",scales=32,48"])
def test_a_longer_video_needs_no_more_memory(detector, scales):
  detector.settings, most = detect.how(f"center_overlap,size=3{scales}"), {}
  for length in (10, 40):
    sizes = [sum(x.nbytes for x in jax.live_arrays()) for _ in detector.frames(drawn(length))]
    most[length] = max(sizes)
    assert detector.held == 2 * 3 + 1
  assert most[40] <= most[10]


# ---------------------------------------------------------------- several scales


def found(detector, windows, frames=8):
  """[(boxes, scores)] of the frames of a drawn video."""
  detector.settings = detect.how(windows)
  return [(boxes, scores) for _, boxes, scores in detector.frames(drawn(frames))]


def test_the_scale_of_the_config_is_what_there_is_without_scales(detector):
  for own, plain in zip(found(detector, "size=3,scales=48"), found(detector, "size=3"), strict=True):
    assert len(plain[0]) > 0
    np.testing.assert_array_equal(own[0], plain[0])
    np.testing.assert_array_equal(own[1], plain[1])


def test_a_scale_is_the_run_with_frames_of_that_size(detector, run):
  smaller = detect.VideoDetector(load.load_checkpoint(
      str(run), None, ["data.short_side=32", "data.long_side=54", "data.sizes=((32,64),)"]))
  for own, other in zip(found(detector, "size=3,scales=32"), found(smaller, "size=3"), strict=True):
    assert len(own[0]) > 0 and 60 < own[0][:, 2].max() <= ROOM[1]  # in pixels of the video
    np.testing.assert_array_equal(own[0], other[0])
    np.testing.assert_array_equal(own[1], other[1])


@pytest.mark.parametrize("windows", ["center_overlap,size=3", "long,size=2,passes=1", "multi_window"])
def test_boxes_of_all_scales_are_put_together(detector, windows):
  together = found(detector, f"{windows},scales=48,32,64")
  alone = [found(detector, f"{windows},scales={side}") for side in (32, 48, 64)]
  rows = lambda boxes, scores: sorted(map(tuple, np.concatenate([boxes, scores], 1)))
  for pooled, *parts in zip(together, *alone, strict=True):
    assert rows(*pooled) == sorted(sum((rows(*part) for part in parts), [])) and all(len(b) > 0 for b, _ in parts)
    assert (np.diff(pooled[1].max(-1)) <= 0).all()


def test_linking_takes_the_boxes_of_all_scales_as_one_set(detector):
  frames = found(detector, "size=3,scales=32,48")
  linked, expected = detector(drawn(8)), detect.linked(*zip(*frames))
  assert len(linked.frame) > 0
  for own, other in zip(linked, expected):
    np.testing.assert_array_equal(own, other)


def test_rooms_grow_with_frames():
  data = config_lib.base().data
  data.update(short_side=360, long_side=600, sizes=((352, 608), (464, 464)))
  for side, long_side, sizes in ((270, 450, ((272, 464), (352, 352))), (540, 900, ((528, 912), (704, 704)))):
    grown = detect._at_scale(data, side)
    assert (grown.short_side, grown.long_side, grown.sizes) == (side, long_side, sizes)
    across, down = transforms.fitting_size(720, 1280, grown, (10**9, 10**9))
    assert (down, across) == (round(337.5 * side / 360 - 0.5), long_side) and sizes[0][0] >= down
  assert detect._at_scale(data, 360) is data


@pytest.mark.parametrize("scales, words", [
    ("0", "scales=0: write the shorter sides in pixels"), ("-48,48", "scales=-48,48: write"),
    ("48,48", "scales=48,48: write"), ("4.5", "scales=4.5: write"), ("all", "scales=all: write"),
    ("48,193", "scales=48,193: 193 is not in 12 to 192, a quarter to four times data.short_side=48 of stmn"),
    ("11", "scales=11: 11 is not in 12 to 192")])
def test_scales_that_cannot_be_are_one_line(run, real_data, scales, words, capsys):
  folder = real_data("imagenet_vid_snippet") / "ILSVRC2015_val_00007010"
  assert cli.main(["predict", f"--workdir={run}", f"--windows=size=3,scales={scales}", str(folder)]) == 2
  assert f"windows: {words}" in line(capsys)


# ---------------------------------------------------------------- a snippet of ImageNet VID


def test_a_real_snippet_is_predicted_with_few_frames_held(run, real_data, tmp_path, monkeypatch):
  folder, out = real_data("imagenet_vid_snippet") / "ILSVRC2015_val_00007010", tmp_path / "found.json"
  made, make = [], detect.make
  monkeypatch.setattr(detect, "make", lambda *given: made.append(make(*given)) or made[-1])
  flags = [f"--workdir={run}", "--windows=long,size=3,passes=1", "--threshold=0.5"]
  assert cli.main(["predict", *flags, f"--out={out}", str(folder)]) == 0
  [entry], [detector] = json.loads(out.read_text()), made
  assert entry["error"] is None and entry["count"] == 144 and len(entry["frames"]) > 0
  boxes = np.array([b["box"] for f in entry["frames"] for b in f["boxes"]])
  assert (boxes >= 0).all() and (boxes <= np.tile(entry["size"][::-1], 2) + 0.01).all()
  assert detector.held <= 2 * 3 + 1


# ---------------------------------------------------------------- boxes of the masks of DAVIS


@pytest.fixture(scope="module")
def davis(real_data):
  """{sequence: (N, 4)}."""
  dataset = datasets.load("davis", str(real_data("davis2016_val")), "val")
  return {r.id: object_tracks.boxes_of(object_tracks.masks(r, 0, range(len(r.extra["masks"][0]))))
          for r in dataset.records}


def measured(davis, link, found):
  """({sequence: number of tracks}, measures) of (boxes, scores) per frame of each sequence, each a class of its own."""
  parts, truth, motion, tracks, first = [], [], [], {}, 0
  for label, (name, own) in enumerate(davis.items()):
    linked = detect.linked(*found(name, own), link)
    tracks[name] = len(set(linked.track[linked.track >= 0].tolist()))
    parts.append((linked.frame + first, linked.box, np.full(len(linked.frame), label), linked.score))
    truth.append((np.arange(len(own)) + first, own, np.full(len(own), label)))
    motion.append(metrics.motion_iou(metrics.Boxes(*truth[-1]), np.zeros(len(own))))
    first += len(own) + 2 * metrics.NEARBY
  joined = lambda rows: metrics.Boxes(*map(np.concatenate, zip(*rows)))
  return tracks, metrics.evaluate_vid(joined(parts), joined(truth), list(davis), np.concatenate(motion))


@pytest.mark.parametrize("link", ["seqnms", "dt_link"])
def test_perfect_boxes_are_all_found_and_their_tubes_are_the_objects(davis, link):
  tracks, found = measured(davis, link, lambda name, own: ([b[None] for b in own], [np.ones((1, 1))] * len(own)))
  assert all(found[key] == 100 for key in ("mAP", "mAP_slow", "mAP_medium", "mAP_fast"))
  close = {name: metrics.each_iou(own[1:], own[:-1]).min() >= 0.5 for name, own in davis.items()}
  assert tracks == {name: 1 if link == "dt_link" or close[name] else 2 for name in davis}
  assert sum(close.values()) == 11  # the dog of one sequence jumps once by more than half of its box


def jittered(name, own):
  """Objects' boxes moved by 5 % of their sides, with weak scores in half of the frames, between two others each."""
  rng, boxes, scores = np.random.default_rng(len(name)), [], []
  for box in own:
    moved = box + 0.05 * rng.normal(size=4) * np.tile(box[2:] - box[:2], 2)
    corner = rng.uniform(0, [340, 160], (2, 2))
    boxes.append(np.concatenate([moved[None], np.concatenate([corner, corner + rng.uniform(20, 80, (2, 2))], 1)]))
    weak = rng.random() < 0.5
    scores.append(np.r_[rng.uniform(0.05, 0.3) if weak else rng.uniform(0.7, 1), rng.uniform(0, 0.5, 2)][:, None])
  return boxes, scores


def test_weak_and_jittered_boxes_are_found_by_their_chains(davis):
  some = dict(list(davis.items())[::3])
  found = {link: measured(some, link, jittered)[1]["mAP"] for link in detect.LINKS}
  # 70.0 box by box, 93.7 by Seq-NMS, whose chains break where boxes jump, and 100 by paths through all frames
  assert 65 < found["none"] < 75 and found["seqnms"] > found["none"] + 15 and found["dt_link"] > 99
