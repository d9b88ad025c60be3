"""ImageNet in both of its layouts, of small images."""

import cv2
import numpy as np
import pytest

from vidx import errors
from vidx.data import datasets, pipeline
from vidx.train import config

WORDS = ("n01440764", "n01443537")


def image(path, grey):
  path.parent.mkdir(parents=True, exist_ok=True)
  cv2.imwrite(str(path.with_suffix(".jpg")), np.full((40, 50, 3), grey, np.uint8))
  path.with_suffix(".jpg").rename(path)


@pytest.fixture(params=["", "Data/CLS-LOC"])
def root(tmp_path, request):
  for i, word in enumerate(WORDS):
    for k in range(2 + i):
      image(tmp_path / request.param / "train" / word / f"{word}_{k}.JPEG", 50 * i)
    image(tmp_path / request.param / "val" / f"ILSVRC2012_val_{1 - i}.JPEG", 0)
  (tmp_path / "LOC_val_solution.csv").write_text(
      f"ImageId,PredictionString\nILSVRC2012_val_1,{WORDS[0]} 1 2 3 4 {WORDS[0]} 5 6 7 8 \n"
      f"ILSVRC2012_val_0,{WORDS[1]} 1 2 3 4 \n")
  (tmp_path / "LOC_synset_mapping.txt").write_text(
      f"{WORDS[1]} goldfish, Carassius auratus\n{WORDS[0]} tench, Tinca tinca\n")
  return tmp_path


def load(root, split="train"):
  return datasets.load("imagenet", str(root), split)


def test_classes_are_in_the_order_of_their_folders_and_images_have_theirs(root):
  train, val = load(root), load(root, "val")
  assert train.classes == val.classes == ("n01440764 tench", "n01443537 goldfish")
  assert [r.label for r in train.records] == [0, 0, 1, 1, 1] and train.records[0].media.kind == "still"
  assert {r.id: r.label for r in val.records} == {"ILSVRC2012_val_0.JPEG": 1, "ILSVRC2012_val_1.JPEG": 0}


def test_validation_images_may_be_sorted_into_folders(root):
  (root / "LOC_synset_mapping.txt").unlink()
  base = root if (root / "val").is_dir() else root / "Data/CLS-LOC"
  image(base / "val" / WORDS[1] / "a.JPEG", 9)
  val = load(root, "val")
  assert [(r.id, r.label) for r in val.records] == [(f"{WORDS[1]}/a.JPEG", 1)] and val.classes == WORDS
  image(base / "val" / "n9" / "a.JPEG", 9)
  with pytest.raises(errors.DataError, match="n9 .*is no class of the training images"):
    load(root, "val")


def test_what_is_missing_is_said(root):
  with pytest.raises(errors.AbsentError, match="split 'test'"):
    load(root, "test")
  (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_1,n01440765 1 2 3 4\n")
  with pytest.raises(errors.DataError, match=f"line 2: 'n01440765' is no class .*{WORDS[0]}"):
    load(root, "val")
  (root / "LOC_val_solution.csv").unlink()
  with pytest.raises(errors.DataError, match="no folder per class, and there is no"):
    load(root, "val")


def test_an_image_is_a_clip_of_one_frame(root):
  data = config.load_file("configs/imagenet/ats.py").data
  data.update(short_side=32, crop=24, workers=0)
  with pipeline.eval_batches(load(root), data, batch_size=3) as batches:
    video = next(iter(batches))["video"]
  assert video.shape[-4:] == (1, 24, 24, 3) and len(np.unique(video)) == 2
