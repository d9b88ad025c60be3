
import numpy as np
import pytest

from vidx import errors
from vidx.metrics import ava

TRUTH = """v1,0902,0.1,0.1,0.5,0.5,12,0
v1,0902,0.1,0.1,0.5,0.5,17,0
v1,0902,0.6,0.6,0.9,0.9,12,1
v1,0903,0.1,0.1,0.5,0.5,12,0
v2,0902,0.0,0.0,1.0,1.0,79,0
v2,0903
"""
LIST = """item {
  name: "stand"
  id: 12
}
item { name: 'walk' id: 17 }
label { label_name: "swim" label_id: 40 label_type: PERSON_MOVEMENT }
"""


@pytest.fixture
def write(tmp_path):
  def write(name, text):
    (tmp_path / name).write_text(text)
    return tmp_path / name
  return write


def scored(text):
  return "".join(f"{row.rsplit(',', 1)[0]},0.9\n" for row in text.splitlines() if row.count(",") == 7)


def test_the_truth_with_scores_is_perfect(write):
  result = ava.evaluate(write("t.csv", TRUTH), write("p.csv", scored(TRUTH)))
  assert result == {"mAP": 100, "AP/12": 100, "AP/17": 100, "AP/79": 100}


def test_misses_false_boxes_and_second_boxes_count(write):
  found = """v1,902,0.1,0.1,0.5,0.5,12,0.9
v1,902,0.1,0.1,0.5,0.48,12,0.8
v1,0902,0.6,0.6,0.9,0.9,12,0.7
v1,0904,0.6,0.6,0.9,0.9,12,0.6
v2,0902,0.0,0.0,0.5,0.9,79,0.5
v2,0902,0.5,0.5,0.5,0.9,79,0.9
"""
  result = ava.evaluate(write("t.csv", TRUTH), write("p.csv", found))
  # 12: right, false, right, false of 3; 79: 0.45 of the box is too little, and a box without area is no prediction
  np.testing.assert_allclose(result["AP/12"], 100 * (1 / 3 + 2 / 3 / 3))
  assert result["AP/17"] == 0 and result["AP/79"] == 0
  np.testing.assert_allclose(result["mAP"], result["AP/12"] / 3)


def test_where_frames_hold_few_predictions_the_best_of_scored_actions_count(write):
  found = scored(TRUTH) + "".join(f"v1,0902,0.6,0.6,0.9,0.9,40,0.9{i}\n" for i in range(10))
  given = write("t.csv", TRUTH), write("p.csv", found.replace("17,0.9", "17,0.8"))
  walks = lambda capacity, *names: ava.evaluate(*given, *names, capacity=capacity)[f"AP/{'walk' if names else 17}"]
  assert walks(0) == walks(3) == 100 and walks(2) == 0
  names = write("list.pbtxt", LIST)  # with action 40
  assert walks(0, names) == walks(13, names) == 100 and walks(12, names) == 0


def test_the_list_chooses_actions_and_names_them(write):
  result = ava.evaluate(write("t.csv", TRUTH), write("p.csv", scored(TRUTH)), write("list.pbtxt", LIST))
  assert result["mAP"] == result["AP/stand"] == result["AP/walk"] == 100
  assert np.isnan(result["AP/swim"]) and "AP/79" not in result


def test_excluded_seconds_are_left_out_of_both(write):
  found = "v1,0903,0.6,0.6,0.9,0.9,12,0.99\n" + scored(TRUTH.replace("v1,0903", "v3,0903"))
  paths = write("t.csv", TRUTH), write("p.csv", found)
  assert ava.evaluate(*paths)["AP/12"] < 100
  assert ava.evaluate(*paths, exclude=write("x.csv", "v1,0903\nv3,0903\n"))["AP/12"] == 100


def test_names_that_occur_twice_stay_apart(write):
  names = write("list.pbtxt", LIST.replace("walk", "stand"))
  result = ava.evaluate(write("t.csv", TRUTH), write("p.csv", scored(TRUTH)), names)
  assert result["AP/stand (12)"] == result["AP/stand (17)"] == 100


@pytest.mark.parametrize("row, message", [
    ("v1,0902,0.1,0.1,0.5", "line 2: 5 values; a row is video, second, x0, y0, x1, y1, action, score"),
    ("v1,0902,0.1,0.1,0.5,0.5,12", "line 2: 7 values"),
    ("v1,0902,0.1,0.1,0.5,0.5,12,high", "line 2: a value is not a number"),
    ("v1,0902,0.1,,0.5,0.5,12,0.5", "line 2: the box has a corner that is not a number"),
    ("v1,0902,0.1,0.1,0.5,0.5,1.5,0.5", "line 2: action '1.5' is not a whole number"),
    *((f"v1,0902,0.1,0.1,0.5,0.5,{action},0.5", f"line 2: action '{action}' is not a whole number")
      for action in ("nan", "inf", "-1e999")),
    ("v1,0902,0.1,0.1,0.5,0.5,12,nan", "line 2: the score is not a number"),
    ("v1,0902,0.5,0.1,0.1,0.5,12,0.5", "line 2: the corners of the box are swapped"),
    ("v1,soon,0.1,0.1,0.5,0.5,12,0.5", "line 2: second 'soon' is not a whole number"),
    ("v1,902.5,0.1,0.1,0.5,0.5,12,0.5", "line 2: second '902.5' is not a whole number"),
    ("v1,inf,0.1,0.1,0.5,0.5,12,0.5", "line 2: second 'inf' is not a whole number"),
])
def test_a_row_of_another_form_is_named_in_one_line(write, row, message):
  with pytest.raises(errors.DataError) as e:
    ava.evaluate(write("t.csv", TRUTH), write("p.csv", f"{scored(TRUTH).splitlines()[0]}\n{row}\n"))
  assert message in str(e.value) and "p.csv" in str(e.value) and "\n" not in str(e.value)


def test_missing_and_empty_files_are_named(write, tmp_path):
  with pytest.raises(errors.DataError, match="none.csv' cannot be read"):
    ava.evaluate(write("t.csv", TRUTH), tmp_path / "none.csv")
  with pytest.raises(errors.DataError, match="lists no action"):
    ava.read_action_list(write("list.pbtxt", ""))
  with pytest.raises(errors.DataError, match="without a name and an id"):
    ava.read_action_list(write("list.pbtxt", "item { name: 'a' }"))
  assert ava.evaluate(write("t.csv", TRUTH), write("p.csv", ""))["mAP"] == 0


def test_real_files_are_read(write, real_data):
  folder = real_data("ava_sample")
  truth = folder / "ava_sample.csv"
  found = write("p.csv", scored(truth.read_text()))
  assert ava.evaluate(truth, found)["mAP"] == 100
  result = ava.evaluate(truth, found, folder / "action_list.txt", folder / "ava_excluded_timestamps_sample.csv")
  assert result["mAP"] == 100 and set(result) == {"mAP", "AP/action1", "AP/action2", "AP/action3 (79)",
                                                  "AP/action3 (80)"}
  assert np.isnan(result["AP/action3 (80)"])
