import dataclasses

import numpy as np
import pytest

from vidx.data import datasets, toybox
from vidx.data.toybox import acts


@pytest.mark.parametrize("index", range(6))
def test_the_first_person_does_what_the_class_says_and_the_others_something(index):
  for turn in range(4):
    scene, people = toybox.scene_of("acts", "train", index + 6 * turn, 12, 0)
    assert index in people[0].actions and 1 <= len(people) <= 3
    rings = bool(scene.loudness.any())
    bells = sum(o.shape == "cross" for o in scene.objects)
    assert sum(5 in p.actions for p in people) == (bells if rings else 0)
    for p in people:
      moved = p.x[-1] - p.x[0]
      assert {0: moved == 0, 1: moved < 0, 2: moved > 0, 3: np.ptp(p.y) > 0.05}[p.actions[0]]


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_boxes_hold_people_from_head_to_hem(size):
  scene, people = toybox.scene_of("acts", "train", 8, 5, 0)
  bare = dataclasses.replace(scene, objects=())
  bodies = [o for o in scene.objects if o.shape in ("triangle", "circle")]
  for i in range(len(people)):
    own = dataclasses.replace(scene, objects=tuple(bodies[2 * i:2 * i + 2]))
    with_one, without = toybox.render(own, size), toybox.render(bare, size)
    for t in range(5):
      y, x = np.nonzero((with_one[t] != without[t]).any(-1))
      x0, y0, x1, y1 = acts.boxes(people, size, t)[i] * np.array([size[1], size[0]] * 2)
      np.testing.assert_allclose([x.min(), y.min(), x.max() + 1, y.max() + 1], [x0, y0, x1, y1], atol=2.6)


def test_a_set_is_laid_out_as_ava_with_boxes_of_a_detector(tmp_path):
  toybox.build(str(tmp_path), labels="acts", split=(6, 3, 2), size=(32, 32), frames=36, fps=12.0, workers=1)
  train, val, test = (datasets.load("ava", str(tmp_path), split) for split in ("train", "val", "test"))
  assert [len(d) for d in (train, val, test)] == [12, 6, 4] and train.classes == acts.CLASSES
  assert val.facts["evaluated"] == acts.SCORED
  _, people = toybox.scene_of("acts", "val", 1, 36, 0)
  record = val.records[2]
  assert record.id == "toyval00001,0001" and record.span == (1, 1)
  np.testing.assert_allclose(record.extra["frame_boxes"].box, acts.boxes(people, (32, 32), 12), atol=1e-3)
  assert [tuple(np.flatnonzero(hot)) for hot in record.extra["frame_boxes"].label] == [p.actions for p in people]
  assert len(record.extra["proposed_boxes"]) == len(people)
  assert test.records[0].label == -1
