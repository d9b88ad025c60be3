import importlib
import json

import numpy as np
import pytest

from vidx import errors
from vidx.data import batch as batch_lib, datasets, examples, toybox, vocabulary
from vidx.data.parts import phrases as phrases_part
from vidx.data.toybox import sentences
from vidx.train import config

render = importlib.import_module("vidx.data.toybox.render")  # whose name the package gives to its function
TREE = "(ROOT (NP (NP (DT a) (NN dog)) (PP (IN on) (NP (DT the) (JJ left) (NN side)))))"


def write(root, name, value):
  path = root / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def coco(tmp_path):
  """Two images with captions, one of them with trees, and masks."""
  images = [{"id": i, "file_name": f"{i}.png", "height": 4, "width": 6} for i in (5, 9)]
  captions = [{"id": 1, "image_id": 5, "caption": "A dog on the left side."},
              {"id": 2, "image_id": 9, "caption": "cats"}, {"id": 3, "image_id": 9, "caption": " ... "}]
  write(tmp_path, "annotations/captions_train2014.json", {"images": images, "annotations": captions})
  write(tmp_path, "annotations/trees_train2014.jsonl",
        json.dumps({"image_id": 5, "caption_id": 1, "caption": "", "tree": TREE}) + "\n")
  things = [{"id": 1, "image_id": 5, "category_id": 7, "segmentation": [[0, 0, 3, 0, 3, 4, 0, 4]], "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 7, "segmentation": {"counts": [20, 4], "size": [4, 6]},
             "iscrowd": 1}]
  write(tmp_path, "annotations/instances_val2014.json", {"images": images, "annotations": things, "categories": [
      {"id": 3, "name": "stop sign"}, {"id": 7, "name": "dog"}]})
  write(tmp_path, "image_data.json", [{"image_id": 40, "width": 60, "height": 20, "coco_id": 5},
                                      {"image_id": 41, "width": 60, "height": 20, "coco_id": None}])
  region = lambda phrase, x, y, w, h: {"region_id": 1, "phrase": phrase, "x": x, "y": y, "width": w, "height": h}
  write(tmp_path, "region_descriptions.json", [
      {"id": 40, "regions": [region("The Dog!", 30, 5, 60, 10), region("?", 0, 0, 9, 9), region("flat", 3, 3, 0, 9)]},
      {"id": 41, "regions": [region("x", 0, 0, 1, 1)]}])
  for split in ("train", "val"):
    for i in (5, 9):
      write(tmp_path, f"{split}2014/{i}.png", "an image")
  return tmp_path


def test_captions_come_with_their_trees_and_others_are_cut_by_rules(coco):
  found = datasets.load("coco", str(coco), "train")
  assert [r.id for r in found.records] == ["5", "9"] and found.records[0].media.kind == "still"
  assert found.records[0].extra["trees"] == (TREE,) and found.records[1].extra["trees"] == ()
  assert found.notes == ("2 of the 3 captions of 'train' have no tree: they are cut by rules",
                         "left out 1 caption of 'train' without a word")
  phrases = config.base().data.phrases
  assert [t for t, _ in phrases_part.of_record(found.records[0], phrases)][:3] == [
      "a dog on the left side", "a dog", "on the left side"]
  assert phrases_part.of_record(found.records[1], phrases) == [("cats", -1)]
  assert phrases_part.of_record(found.records[0], phrases, flipped=True) == []  # the left side is the right one now
  (coco / "annotations/trees_train2014.jsonl").unlink()
  bare = datasets.load("coco", str(coco), "train")
  assert "phrases are cut by rules" in bare.notes[0]
  assert ("a dog", 0) in phrases_part.of_record(bare.records[0], phrases)


def test_nouns_alone_and_all_captions_may_be_asked_for(coco):
  record = datasets.load("coco", str(coco), "train").records[0]
  phrases = config.base().data.phrases
  phrases.take = "leaves"
  assert phrases_part.of_record(record, phrases) == [("dog", -1), ("side", -1)]
  phrases.update(take="tree", captions="all", nodes=9)
  twice = record.extra | {"captions": ("a", "b"), "trees": (TREE, "(ROOT (NP (DT a) (NN cat)))")}
  found = phrases_part.of_record(type(record)(record.id, record.media, extra=twice), phrases)
  roots = [t for t, parent in found if parent < 0]
  assert roots == ["a dog on the left side", "a cat"][:len(roots)] and len(found) <= 9
  assert all(parent < i for i, (_, parent) in enumerate(found))


def test_texts_need_no_images_and_one_caption_is_one_record(coco):
  found = datasets.load("coco", str(coco), "train", media="text")
  assert [r.extra["captions"] for r in found.records] == [("a dog on the left side",), ("cats",)]
  summary = vocabulary.build("coco", str(coco), least=1)
  assert summary["words"] == 7 and (coco / "vocab.txt").read_text().splitlines()[:4] == [
      "[PAD]", "[UNK]", "[CLS]", "[SEP]"]
  assert vocabulary.words(["b a a", "A c!"], least=2) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]
  with pytest.raises(errors.DataError, match="no captions"):
    vocabulary.build("visual_genome", str(coco), split="val")


def test_masks_of_a_category_are_joined_and_all_categories_may_be_asked(coco):
  found = datasets.load("coco", str(coco), "val", prefix="a ")
  record, = found.records
  assert record.extra["phrases"] == ("a dog",) and record.extra["categories"] == (1,) and record.extra["size"] == (4, 6)
  mask = record.extra["segments"][0].mask(4, 6)
  assert mask[:, :3].all() and mask[:, 5].all() and not mask[:, 3:5].any()
  every = datasets.load("coco", str(coco), "val", asked="all")
  assert [r.extra["phrases"] for r in every.records] == [("stop sign", "dog")] * 2
  assert not every.records[1].extra["segments"][1].mask(4, 6).any()


def test_regions_are_scaled_clipped_and_of_cocos_validation(coco):
  found = datasets.load("visual_genome", str(coco), "val")
  record, = found.records
  assert record.extra["phrases"] == ("the dog",) and record.extra["boxes"] == ((0.5, 0.25, 1.0, 0.75),)
  assert record.media.path.endswith("val2014/5.png") and record.extra["size"] == (4, 6)
  assert found.notes == ("left out 2 regions of 'val' without a word or an area",)
  assert len(datasets.load("visual_genome", str(coco), "train")) == 2


def test_lines_of_a_file_are_texts(tmp_path):
  write(tmp_path, "train.txt", "A dog runs.\n\nTwo cats\n")
  found = datasets.load("texts", str(tmp_path), "train")
  assert [(r.id, r.extra["captions"][0]) for r in found.records] == [("1", "a dog runs"), ("3", "two cats")]
  assert found.notes == ("left out 1 line of train.txt without a word",)


def test_missing_images_are_listed_and_too_many_are_an_error(coco):
  (coco / "train2014/9.png").unlink()
  assert datasets.read("coco", str(coco), "train").missing == ("9.png",)
  with pytest.raises(errors.DataError, match="1 of the 2 media"):
    datasets.load("coco", str(coco), "train")


@pytest.mark.parametrize("options", [{}, {"media": "text"}])
@pytest.mark.parametrize("name, change, words", [
    ("annotations/trees_train2014.jsonl", '{"caption_id": 1, "tree": "(ROOT (NN a)"}\n', "jsonl, line 1: 1 bracket"),
    ("annotations/trees_train2014.jsonl", '\n{"caption_id": 1}\n', "line 2: no JSON with caption_id and tree"),
    ("annotations/captions_train2014.json", {"images": [], "annotations": [{"id": 4, "image_id": 8, "caption": "a"}]},
     "caption 1 \\(id 4\\): there is no image 8"),
    ("annotations/captions_train2014.json", {"images": []}, "no list 'annotations'"),
    ("annotations/captions_train2014.json", {"images": [{"id": 1}], "annotations": []}, "image 1: no id, file_name"),
    ("annotations/captions_train2014.json", "{", "no JSON")])
def test_broken_captions_are_one_line_with_its_place(coco, name, change, words, options):
  write(coco, name, change)
  with pytest.raises(errors.DataError, match=words) as e:
    datasets.load("coco", str(coco), "train", **options)
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("change, words", [
    (dict(image_id=8), "annotation 1: there is no image 8"), (dict(category_id=8), "there is no category 8"),
    (dict(segmentation=[[1, 2, 3]]), "annotation 1: a polygon that is none"),
    (dict(segmentation={"counts": [3], "size": [4, 6]}), "annotation 1: run lengths of 3 pixels"),
    ({"segmentation": 3}, "annotation 1")])
def test_broken_masks_are_one_line_with_its_place(coco, change, words):
  path = coco / "annotations/instances_val2014.json"
  content = json.loads(path.read_text())
  content["annotations"][0].update(change)
  write(coco, "annotations/instances_val2014.json", content)
  with pytest.raises(errors.DataError, match=words):
    datasets.load("coco", str(coco), "val")


@pytest.mark.parametrize("options, words", [(dict(media="video"), "image, text"), (dict(asked="some"), "present, all")])
def test_other_choices_are_refused(coco, options, words):
  with pytest.raises(errors.ConfigError, match=words):
    datasets.load("coco", str(coco), "train", **options)


# ---------------------------------------------------------------- Toybox, and examples of it


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
  root = tmp_path_factory.mktemp("stills")
  toybox.build(str(root), labels="sentences", layout="coco", split=(5, 3, 0), size=(24, 32), workers=1)
  return root


def told(split, index):
  return toybox.scene_of("sentences", split, index, 1, 0)


def test_stills_are_written_with_captions_trees_masks_and_boxes(stills):
  train, val = (datasets.load("coco", str(stills), split) for split in ("train", "val"))
  assert len(train) == 5 and len(val) == 3 and not train.notes
  for i, record in enumerate(train.records):
    assert list(zip(record.extra["captions"], record.extra["trees"])) == sentences.stills(told("train", i)[1])
  for i, record in enumerate(val.records):
    scene, (_, things) = told("val", i)
    masks = {shape: mask for (_, shape, _), mask in zip(things, render.masks(scene, (24, 32)))}
    assert set(record.extra["phrases"]) <= {shape for _, shape, _ in things}
    for phrase, segment in zip(record.extra["phrases"], record.extra["segments"]):
      assert masks[phrase].any()
      np.testing.assert_array_equal(segment.mask(24, 32), masks[phrase])
  regions = datasets.load("visual_genome", str(stills), "val").records[0]
  colour, shape, _ = told("val", 0)[1][1][0]
  assert f"a {colour} {shape}" in regions.extra["phrases"]


def test_masks_lie_where_the_colour_is():
  for i in range(6):
    scene, _ = told("train", i)
    picture, seen = toybox.render(scene, (48, 48))[0].astype(float), render.masks(scene, (48, 48))
    assert seen.shape == (len(scene.objects), 48, 48) and seen.sum(0).max() <= 1
    for thing, mask in zip(scene.objects, seen):
      near = np.abs(picture - np.array(thing.colour)).max(-1) < 12
      assert (near & ~mask).sum() <= 0.1 * near.sum() + 3 and (near & mask).sum() > 0.3 * mask.sum()


def section(root):
  c = config.base()
  c.data.update(root=str(root), frames=1, crop=24, whole=(24, 24), crop_mode="whole", workers=0)
  c.data.text.update(tokenizer="words", length=6)
  c.data.phrases.update(nodes=8)
  return c.data


def test_examples_are_an_image_and_the_phrases_of_one_caption(stills):
  train = datasets.load("coco", str(stills), "train")
  wanted = ("video", "phrases", "phrase_mask", "phrase_name", "phrase_parent", "phrase_count")
  made = examples.make(train, section(stills), training=True, wanted=wanted)
  seen = [made.train(0, np.random.default_rng(i), 0) for i in range(8)]
  batch = batch_lib.stack([*seen, made.blank(0, 0)])
  batch_lib.validate(batch)
  assert batch["video"].shape == (9, 1, 24, 24, 3) and batch["phrases"].shape == (9, 8, 5)
  assert len({e["phrase_count"].item() for e in seen}) > 1  # captions are drawn
  for e in seen:
    n = e["phrase_count"]
    assert (e["phrase_name"][:n] >= 0).all() and (e["phrase_name"][n:] == -1).all() and not e["phrase_mask"][n:].any()
    assert e["phrase_parent"][0] == -1 and (e["phrase_parent"][1:n] < np.arange(1, n)).all()
    assert (e["phrases"][:n, 0] == 2).all() and not (e["phrases"] == 3).any()  # begin, and no end
    assert e["phrase_mask"].sum(1).max() <= 5  # of a longer phrase the first words are kept
  val = datasets.load("visual_genome", str(stills), "val")
  asked = examples.make(val, section(stills), training=False, wanted=wanted).evaluate(0, 0)
  assert asked["phrase_count"] == len(val.records[0].extra["phrases"]) and asked["video"].shape == (1, 1, 24, 24, 3)


def test_equal_phrases_have_equal_names_and_unknown_words_one_number(stills):
  assert phrases_part.name_of("a dog") == phrases_part.name_of("a dog") >= 0
  assert phrases_part.name_of("a dog") != phrases_part.name_of("a cat")
  ids, mask = phrases_part.numbered("a purple circle", section(stills))
  assert mask.tolist() == [1, 1, 1, 1, 0] and ids[2] == 1 and ids[4] == 0


def test_texts_alone_are_examples_without_an_image(stills):
  found = datasets.load("coco", str(stills), "train", media="text")
  made = examples.make(found, section(stills), training=True, wanted=("text", "text_mask"))
  example = made.train(0, np.random.default_rng(0), 0)
  assert example["text"].shape == (6,) and "video" not in example and made.size > 0
  with pytest.raises(errors.ConfigError, match="are texts"):
    examples.make(found, section(stills), training=True, wanted=("video",))
