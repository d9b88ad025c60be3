"""ImageNet VID and DET in their layout: written by Toybox, then spoilt in every way that a copy may be."""

import re
import shutil

import cv2
import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import batch, check, datasets, pipeline, plans, toybox
from vidx.data.datasets import imagenet_vid, voc_xml
from vidx.data.toybox import tracks

SIZE, FRAMES = (32, 48), 9
KEYS = ("video", "boxes", "box_label", "box_track", "box_mask", "extent")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  root = tmp_path_factory.mktemp("vid")
  toybox.build(str(root), labels="tracks", split=(9, 3, 2), size=SIZE, frames=FRAMES, workers=1)
  return root


@pytest.fixture
def root(made, tmp_path):
  shutil.copytree(made, tmp_path / "vid")
  return tmp_path / "vid"


def det(root, count=4):
  """A DET of single frames, beside objects of a class that VID lacks."""
  for i in range(count):
    for kind in ("Data", "Annotations"):
      (root / kind / "DET" / "train" / "a").mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / f"Data/DET/train/a/{i}.jpg"), np.full((40, 30, 3), 9, np.uint8))
    (root / f"Data/DET/train/a/{i}.jpg").rename(root / f"Data/DET/train/a/{i}.JPEG")
    names = ("n99999999", "n99999998") if i == 3 else (tracks.code(i % 2),)  # in the last nothing of a known class
    things = "".join(f"<object><name>{name}</name><bndbox><xmin>3</xmin><xmax>15</xmax><ymin>10</ymin><ymax>30</ymax>"
                     "</bndbox></object>" for name in names)
    (root / f"Annotations/DET/train/a/{i}.xml").write_text(
        f"<annotation><size><width>30</width><height>40</height></size>{things}</annotation>")
  return root


def test_boxes_classes_and_tracks_are_those_that_were_rendered(made):
  found = {s: datasets.load("imagenet_vid", str(made), s) for s in ("train", "val", "test")}
  assert [len(d) for d in found.values()] == [9, 3, 2] and found["val"].classes == tracks.CLASSES
  for split, d in found.items():
    for record in d.records:
      scene, labels = toybox.scene_of("tracks", split, int(record.id[-8:]), FRAMES, 0)
      truth, boxes = tracks.boxes(scene, SIZE), record.extra["frame_boxes"]
      assert record.extra["size"] == SIZE and len(boxes) == FRAMES * len(labels)
      for t in range(FRAMES):
        rows = boxes.rows(t)
        np.testing.assert_allclose(boxes.box[rows], truth[t], atol=1e-3)
        assert boxes.label[rows].tolist() == list(labels) and boxes.track[rows].tolist() == list(range(len(labels)))


def test_two_of_five_frames_hide_what_a_thing_is_and_no_box_leaves_the_picture():
  share = []
  for i in range(40):
    scene, labels = tracks.scene(i % 8, "train", 24, np.random.default_rng(i))
    share.append(tracks.hard(scene).any(1).mean())
    found = tracks.boxes(scene, (64, 64))
    assert found.shape == (24, len(labels), 4) and ((found[..., 2:] - found[..., :2]) > 0.1).all()
  assert 0.4 <= np.mean(share) < 0.48


def test_training_draws_tracks_class_by_class_inside_of_which_its_frames_lie(made):
  d = datasets.load("imagenet_vid", str(made), "train")
  assert isinstance(d.plan, plans.Balanced) and len(d.plan) == 9
  rows, cell = imagenet_vid.tracks(d.records, 5)
  assert len(rows) == sum(len(set(r.extra["frame_boxes"].track.tolist())) for r in d.records)
  drawn = d.plan.draw(0, 0)
  assert {tuple(row) for row in drawn.tolist()} <= {tuple(row) for row in rows.tolist()}
  assert len(set(cell.tolist())) == 8
  data = tiny.data_config(frames=3, sampler="stride", stride=2, sizes=((32, 48),), short_side=32, flip=True)
  streams = []
  for _ in range(2):
    with pipeline.train_batches(d, data, batch_size=3, seed=0, wanted=KEYS) as batches:
      streams.append([next(batches) for _ in range(4)])
  for a, b in zip(*streams):
    batch.validate(a)
    np.testing.assert_array_equal(a["video"], b["video"])
    assert a["boxes"].shape == (3, 3, 3, 4) and (a["box_mask"].sum((1, 2)) > 0).all()


def test_frames_of_other_shapes_lie_in_the_corner_of_the_smallest_size_that_holds_them(root):
  det(root)
  d = datasets.load("imagenet_vid", str(root), "train", det=".", counts=(2, 2))
  assert d.fingerprint() == datasets.load("imagenet_vid", str(root), "train", det=str(root)).fingerprint()
  assert len(d) == 12 and isinstance(d.plan, plans.Mixture) and d.records[-1].media.kind == "still"
  data = tiny.data_config(frames=3, sampler="stride", stride=2, sizes=((24, 40), (40, 24), (48, 48)), short_side=24,
                          long_side=40, flip=True)
  with pipeline.train_batches(d, data, batch_size=2, seed=0, wanted=KEYS) as batches:
    turns = [next(batches) for _ in range(4)]
  for i, own in enumerate(turns):
    video, extent = own["video"], own["extent"]
    assert video.shape[2:4] == ((40, 24) if i % 2 else (24, 40))
    assert extent.tolist() == [[32, 24] if i % 2 else [24, 36]] * 2
    height, width = extent[0].astype(int)
    assert not video[:, :, height:].any() and not video[:, :, :, width:].any() and video[:, :, :height, :width].any()
    assert (own["boxes"][..., 2] <= width + 1e-4).all() and (own["boxes"][..., 3] <= height + 1e-4).all()
    if i % 2:  # a still is a video that stands
      np.testing.assert_array_equal(video[:, 0], video[:, 2])
      x = own["boxes"][0, 0, 0]
      np.testing.assert_allclose(x, [2.4, 8, 12, 24] if x[0] < 5 else [12, 8, 21.6, 24], atol=1e-3)


def test_images_of_det_count_once_up_to_so_many_of_a_class(root):
  det(root)
  d = datasets.load("imagenet_det", str(root), "train")
  assert [r.id for r in d.records] == ["train/a/0", "train/a/1", "train/a/2"]
  assert [r.extra["frame_boxes"].label.tolist() for r in d.records] == [[0], [1], [0]]
  assert len(datasets.load("imagenet_det", str(root), "train", most=1)) == 2
  data = tiny.data_config(frames=1, sampler="stride", sizes=((40, 32),), short_side=30)
  with pipeline.eval_batches(d, data, batch_size=3, wanted=KEYS) as batches:
    found = next(batches)
  assert found["boxes"].shape == (3, 1, 1, 1, 4) and found["extent"][0].tolist() == [[40, 30]]


def test_the_images_of_dets_test_have_no_boxes(root):
  det(root)
  (root / "Data/DET/train").rename(root / "Data/DET/test")
  (root / "ImageSets/DET").mkdir(parents=True)
  (root / "ImageSets/DET/test.txt").write_text("a/0 1\na/1 2\na/9 3\n")
  d = datasets.load("imagenet_det", str(root), "test", max_missing=0.5)
  assert [r.id for r in d.records] == ["test/a/0", "test/a/1"] and d.missing == ("test/a/9",)
  assert not any(r.extra for r in d.records)


def test_without_lists_folders_are_read_and_without_annotations_there_are_no_boxes(root):
  shutil.rmtree(root / "ImageSets")
  assert len(datasets.load("imagenet_vid", str(root), "train")) == 9
  shutil.rmtree(root / "Annotations/VID/test")
  found = datasets.load("imagenet_vid", str(root), "test")
  assert len(found) == 2 and "frame_boxes" not in found.records[0].extra
  shutil.rmtree(root / "Data/VID/test")
  with pytest.raises(errors.AbsentError):
    datasets.load("imagenet_vid", str(root), "test")


def spoil(root, change):
  path = next((root / "Annotations/VID/val").rglob("000004.xml"))
  path.write_text(change(path.read_text()))
  return path


@pytest.mark.parametrize("change, words", [
    (lambda t: t[:60], "000004.xml is no xml"),
    (lambda t: re.sub("<name>n0+", "<name>m", t), "class 'm"),
    (lambda t: re.sub(r"<xmax>[\d.]+", "<xmax>-3", t, count=1), "swapped corners"),
    (lambda t: re.sub(r"<ymax>[\d.]+", "<ymax>high", t, count=1), "bndbox ymax is 'high', not a number"),
    (lambda t: t.replace("<width>48", "<width>50"), "of another size than that of 000000.xml"),
    (lambda t: t.replace("<width>48", "<width>0"), "the size of its image is 0 x 32")])
def test_a_broken_annotation_is_one_line_that_names_it(root, change, words):
  spoil(root, change)
  with pytest.raises(errors.DataError) as e:
    datasets.load("imagenet_vid", str(root), "val")
  assert words in str(e.value) and "000004.xml" in str(e.value) and "\n" not in str(e.value)


def test_an_xml_without_its_image_and_a_snippet_without_its_folder_are_told(root):
  path = next((root / "Data/VID/val").rglob("000004.JPEG"))
  path.unlink()
  with pytest.raises(errors.DataError, match="000004.xml has no image beside it"):
    datasets.load("imagenet_vid", str(root), "val")
  shutil.rmtree(path.parent)
  with pytest.raises(errors.DataError, match="1 of the 3 media of split 'val'"):
    datasets.load("imagenet_vid", str(root), "val")


def test_frames_without_an_xml_are_counted(root):
  for number in (2, 4):
    (root / f"Annotations/VID/val/ILSVRC2015_val_00000000/{number:06d}.xml").unlink()
  d = datasets.load("imagenet_vid", str(root), "val")
  assert d.notes == ("split 'val': 2 frames of annotated snippets without an .xml, which is taken for a frame"
                     " without an object",)
  assert not len(d.records[0].extra["frame_boxes"].rows(2)) and len(d.records[0].extra["frame_boxes"].rows(3))


def test_boxes_outside_and_without_area_are_cut_or_left_out_and_counted(root):
  spoil(root, lambda t: re.sub(r"<xmax>[\d.]+</xmax><xmin>[\d.]+", "<xmax>60</xmax><xmin>50", t, count=1))
  d = datasets.load("imagenet_vid", str(root), "val")
  assert d.notes == ("split 'val': left out 1 box without area, or outside of the frame",)
  spoil(root, lambda t: t.replace("<xmin>50", "<xmin>40"))
  d = datasets.load("imagenet_vid", str(root), "val")
  assert d.notes == () and max(r.extra["frame_boxes"].box.max() for r in d.records) <= 1


def test_check_tells_boxes_tracks_and_classes(made):
  found = check.check("imagenet_vid", str(made))
  own = found["splits"]["train"]
  labels = [toybox.scene_of("tracks", "train", i, FRAMES, 0)[1] for i in range(9)]
  count = sum(map(len, labels))
  assert own["boxes"] == {"total": count * FRAMES, "tracks": count, "most": max(map(len, labels)), "dropped": 0}
  assert own["labels"]["circle"] == sum(0 in own for own in labels) and own["unlabelled"] == 0
  assert check.main("imagenet_vid", str(made)) == 0


def test_the_30_classes_are_in_alphabetical_order():
  names = list(voc_xml.CLASSES.values())
  assert len(names) == 30 and names == sorted(names)


def test_a_real_snippet_without_annotations(tmp_path, real_data):
  (tmp_path / "Data/VID").mkdir(parents=True)
  (tmp_path / "Data/VID/val").symlink_to(real_data("imagenet_vid_snippet"))
  d = datasets.load("imagenet_vid", str(tmp_path), "val")
  assert [r.id for r in d.records] == ["val/ILSVRC2015_val_00007010"]
