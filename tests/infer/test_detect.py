"""Boxes of a video that are linked: chains keep their track, score alike, and what overlaps them goes."""

import numpy as np
import pytest

from vidx import errors
from vidx.infer import detect, found_boxes

CAT = np.array([[10, 10, 30, 30]], float)


def moving(frames=5):
  """A box of class 1 that moves, weak in the middle, and one of class 0 in the first frame alone."""
  boxes, scores = [], []
  for t in range(frames):
    rows, own = [CAT[0] + 2 * t], [[0.02, 0.2 if t == 2 else 0.8, 0.0]]
    rows.append(CAT[0] + 2 * t + 1)  # nearly the same
    own.append([0.0, 0.3, 0.0])
    if t == 0:
      rows.append(np.array([60, 60, 80, 90.0]))
      own.append([0.6, 0.0, 0.0])
    boxes.append(np.array(rows))
    scores.append(np.array(own))
  return boxes, scores


@pytest.mark.parametrize("link, weak", [("seqnms", (4 * 0.8 + 0.3) / 5), ("none", 0.3), ("dt_link", None)])
def test_a_weak_box_of_a_chain_is_as_good_as_its_chain(link, weak):
  found = detect.linked(*moving(), link)
  ones = found.label == 1
  assert found.frame[ones].tolist() == [0, 1, 2, 3, 4]
  middle = found.score[ones][2]
  if weak is None:
    assert middle > 1.5
  else:
    # Seq-NMS: the mean of the chain, whose box in the middle is the better one of two.
    assert middle == pytest.approx(weak, abs=0.03)
  assert len(set(found.track[ones])) == 1 and (found.track[ones][0] >= 0) == (link != "none")
  assert found.score[(found.label == 0) & (found.frame == 0)].max() == pytest.approx(0.6)


def test_tracks_of_two_classes_have_numbers_of_their_own():
  boxes = [np.array([[0, 0, 10, 10], [40, 40, 60, 60.0]])] * 3
  scores = [np.array([[0.9, 0.0], [0.0, 0.9]])] * 3
  found = detect.linked(boxes, scores)
  assert sorted(set(zip(found.label.tolist(), found.track.tolist()))) == [(0, 0), (1, 1)]


def test_a_video_without_boxes_has_none_and_entries_tell_frames_that_have():
  empty = detect.linked([np.zeros((0, 4))] * 2, [np.zeros((0, 3))] * 2)
  assert len(empty.frame) == 0 and empty.box.shape == (0, 4) and found_boxes.entry_of(empty, ["a"]) == []
  frames = found_boxes.entry_of(detect.linked(*moving()), ["bird", "cat", "dog"], least=0.5)
  assert [f["frame"] for f in frames] == [0, 1, 2, 3, 4]
  assert {b["label"] for b in frames[0]["boxes"]} == {"bird", "cat"}
  entry = {"path": "v.mp4", "frames": frames, "count": 5}
  assert found_boxes.to_csv([entry]).splitlines()[0] == "path,frame,track,label,score,x0,y0,x1,y1"
  assert found_boxes.lines(entry)[0][1].startswith("cat, track 0") and "0 to 4, in 5" in found_boxes.lines(entry)[0][3]
  assert "none reaches the threshold" in found_boxes.lines({**entry, "frames": []})[0][3]


def test_the_first_word_may_be_the_mode_alone():
  assert detect.how("long,size=7,link=dt_link") == detect.How("long", 7, link="dt_link")
  assert detect.how("size=3,passes=1") == detect.How(size=3, passes=1) and detect.how("") == detect.How()
  with pytest.raises(errors.ConfigError, match="windows: link 'chain'"):
    detect.how("link=chain")


def test_results_of_other_settings_have_other_names():
  every = ("", "size=3", "long", "scales=32,48", "step=2", "passes=1", "link=none", "suppress=0.5", "still=runs/frames")
  assert len({detect.how(text).name for text in every}) == len(every)
  assert detect.how("").name == "center_overlap-11"
  assert detect.how("long,size=7,scales=32,48,link=none,still=runs/rfcn/").name == "long-7-32-48-link=none-still=rfcn"
