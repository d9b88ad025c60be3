import numpy as np
import pytest

from tests.data import tiny
from vidx.data import batch as batch_lib
from vidx.data.records import Dataset, Media, Record, Target

SINGLE = Dataset("s", "train", (Record("a", Media("a.mp4"), 2),), ("x", "y", "z"))
MULTI = Dataset("m", "train", (Record("a", Media("a.mp4"), (0, 2)),), ("x", "y", "z"), multilabel=True)


def example(dataset):
  return batch_lib.blank((4, 8, 8, 3), dataset, 0)


def test_a_single_label_is_a_class_id():
  label = batch_lib.label_array(2, SINGLE)
  assert label.dtype == np.int32 and label == 2


def test_several_labels_are_zeros_and_ones():
  np.testing.assert_array_equal(batch_lib.label_array((0, 2), MULTI), np.float32([1, 0, 1]))
  np.testing.assert_array_equal(batch_lib.label_array((), MULTI), np.zeros(3, np.float32))
  np.testing.assert_array_equal(batch_lib.label_array(-1, MULTI), np.full(3, -1, np.float32))


@pytest.mark.parametrize("dataset", [SINGLE, MULTI])
def test_stacked_examples_keep_to_the_vocabulary(dataset):
  batch = batch_lib.stack([example(dataset), batch_lib.blank((4, 8, 8, 3), dataset)])
  batch_lib.validate(batch)
  assert batch["id"] == ["a", ""]
  np.testing.assert_array_equal(batch["index"], [0, -1])


@pytest.mark.parametrize("dataset", [SINGLE, MULTI])
def test_padding_equals_stacking_blanks(dataset):
  blank = batch_lib.blank((4, 8, 8, 3), dataset)
  padded = tiny.pad(batch_lib.stack([example(dataset)]), 3)
  expected = batch_lib.stack([example(dataset), blank, blank])
  assert padded["id"] == expected["id"]
  for key in ("video", "label", "weight", "index"):
    np.testing.assert_array_equal(padded[key], expected[key])
    assert padded[key].dtype == expected[key].dtype


def test_padding_does_not_cut():
  with pytest.raises(ValueError, match="does not fit"):
    tiny.pad(batch_lib.stack([example(SINGLE)] * 3), 2)


def test_texts_stay_on_the_host():
  on_device = {k for k in batch_lib.stack([example(SINGLE)]) if batch_lib.on_device(k)}
  assert on_device == {"video", "label", "weight", "index"}


def test_further_targets_have_keys_of_their_own():
  dataset = Dataset("n", "train", (Record("a", Media("a.mp4"), labels={"verb": 1, "noun": (0, 2)}),),
                    named={"verb": Target(("cut", "open")), "noun": Target(("x", "y", "z"), True)})
  batch = batch_lib.stack([example(dataset), batch_lib.blank((4, 8, 8, 3), dataset)])
  batch_lib.validate(batch)
  assert batch["label/verb"].tolist() == [1, -1] and batch["label/verb"].dtype == np.int32
  assert batch["label/noun"].tolist() == [[1, 0, 1], [-1, -1, -1]] and "label" not in batch
  padded = tiny.pad(batch_lib.stack([example(dataset)]), 2)
  for key in ("label/verb", "label/noun"):
    np.testing.assert_array_equal(padded[key], batch[key])


def test_examples_with_fewer_views_are_filled_up():
  short, long = ({"video": np.ones((v, 4, 8, 8, 3), np.uint8), "view_weight": np.ones(v, np.float32),
                  "weight": np.float32(1), "id": str(v)} for v in (1, 3))
  batch = batch_lib.stack([short, long])
  batch_lib.validate(batch)
  assert batch["view_weight"].tolist() == [[1, 0, 0], [1, 1, 1]] and batch["video"].shape == (2, 3, 4, 8, 8, 3)
  assert not batch["video"][0, 1:].any() and batch["weight"].tolist() == [1, 1]


def test_every_key_says_what_it_is():
  for key, row in batch_lib.FIELDS.items():
    assert row.about and (batch_lib.field(key + "verb" if key.endswith("/") else key) is row)
  assert batch_lib.field("label/verb") is batch_lib.FIELDS["label/"] and batch_lib.field("vidio") is None


@pytest.mark.parametrize("change, message", [
    ({"vido": np.zeros(1)}, "vido"),
    ({"video": np.zeros((1, 4, 8, 8, 3), np.float32)}, "float32"),
    ({"video": np.zeros((1, 4, 8, 3), np.uint8)}, "shape"),
    ({"weight": np.zeros(2, np.float32)}, "example"),
])
def test_a_batch_outside_the_vocabulary_is_refused(change, message):
  with pytest.raises(ValueError, match=message):
    batch_lib.validate({**batch_lib.stack([example(SINGLE)]), **change})
