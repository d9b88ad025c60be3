import dataclasses

import numpy as np
import pytest

from vidx.data import datasets, detections, toybox
from vidx.data.toybox import hands

SIZE = (64, 64)


@pytest.mark.parametrize("index", range(0, 36, 5))
def test_the_thing_under_the_hand_is_the_noun_and_moves_as_the_verb_says(index):
  scene, (verb, noun) = toybox.scene_of("hands", "train", index, 12, 0)
  assert (verb, noun) == divmod(index, 6)
  held, hand = scene.objects[0], scene.objects[-1]
  assert held.shape == tuple(hands.NOUNS.values())[noun]
  assert np.allclose(held.x - hand.x, held.x[0] - hand.x[0])
  moved = {"push": held.x[-1] - held.x[0], "pull": held.x[0] - held.x[-1], "lift": held.y[0] - held.y[-1],
           "lower": held.y[-1] - held.y[0], "turn": held.angle[-1] - held.angle[0],
           "squeeze": held.size[0] - held.size[-1]}
  assert max(moved, key=moved.get) == tuple(hands.VERBS)[verb]
  assert len({o.shape for o in scene.objects[:-1]}) == 4


def test_boxes_hold_what_the_picture_shows():
  scene, _ = toybox.scene_of("hands", "train", 3, 4, 0)
  with_all, boxes = toybox.render(scene, SIZE), hands.boxes(scene, SIZE)
  for i in range(4):
    without = toybox.render(dataclasses.replace(scene, objects=scene.objects[:i] + scene.objects[i + 1:]), SIZE)
    for t in range(4):
      y, x = np.nonzero((with_all[t] != without[t]).any(-1))
      x0, y0, x1, y1 = boxes[t, i] * 64
      assert x.min() >= x0 - 2 and x.max() <= x1 + 2 and y.min() >= y0 - 2 and y.max() <= y1 + 2


def test_a_set_is_laid_out_as_epic_kitchens_with_detections(tmp_path):
  made = toybox.build(str(tmp_path), labels="hands", split=(8, 4, 2), size=(32, 32), frames=6, fps=6.0, workers=1)
  assert made["videos"] == 14
  train, val, test = (datasets.load("epic100", str(tmp_path), split) for split in ("train", "val", "test"))
  assert (len(train), len(val), len(test)) == (8, 4, 2)
  assert [r.labels for r in train.records[:7]][-1] == {"verb": 1, "noun": 0}
  assert train.targets["verb"].classes == tuple(hands.VERBS) and train.facts["pairs"].sum() == 8
  assert [r.extra["unseen"] for r in val.records] == [False, True, False, True]
  store = detections.Store(val.records[1].companions["detections"].path)
  assert store.feats.shape == (2, 4, hands.FEATURES) and store.time_s.tolist() == [0, 0.5]
  assert train.records[0].span == pytest.approx((0.1, 0.9))
