import numpy as np

from vidx.data import datasets, toybox
from vidx.data import experts as experts_lib
from vidx.data.toybox import sentences


def told(index):
  return toybox.scene_of("sentences", "train", index, 4, 0)[1]


def test_captions_tell_of_every_thing_in_words_of_the_vocabulary():
  words = set(sentences.vocabulary())
  for i in range(40):
    background, things = told(i)
    said = sentences.captions((background, things))
    assert {w for text in said for w in text.split()} <= words and background in said[2]
    for colour, shape, way in things:
      assert f"a {colour} {shape} {sentences.WAYS[way]}" in said[0] and colour in said[1]


def test_experts_tell_things_apart_and_one_is_missing_at_times():
  rng = np.random.default_rng(0)
  clean = {shape: sentences.experts(("noise", (("red", shape, "up"),)), rng)["objects"].mean(0)
           for shape in sentences.SHAPES}
  near = min(np.linalg.norm(clean[a] - clean[b]) for a in clean for b in clean if a != b)
  again = sentences.experts(("noise", (("red", "star", "up"),)), rng)["objects"].mean(0)
  assert np.linalg.norm(again - clean["star"]) < near / 2
  seen = [sentences.experts(told(i), rng) for i in range(64)]
  assert 0 < sum("scene" not in s for s in seen) < 24 and all("motion" in s for s in seen)
  assert {k: v.shape[1] for k, v in seen[0].items() if k != "scene"} == {"objects": 16, "motion": 12}


def test_the_layout_is_read_back_with_its_captions_and_experts(tmp_path):
  summary = toybox.build(str(tmp_path), labels="sentences", split=(5, 3, 0), size=(16, 16), frames=2, workers=1)
  assert summary["videos"] == summary["rendered"] == 8
  found = datasets.load("msrvtt", str(tmp_path), "val", protocol="full")
  assert len(found) == 3 and not found.missing
  for i, record in enumerate(found.records):
    expected = toybox.scene_of("sentences", "val", i, 2, 0)[1]
    assert list(record.extra["captions"]) == sentences.captions(expected)
    tokens = experts_lib.read(record.media, tuple(sentences.EXPERTS))
    assert len(tokens["objects"]) == sentences.TOKENS * len(expected[1])
    assert record.extra["video"].endswith(f"{record.id}.mp4")
