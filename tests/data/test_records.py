"""Records: targets, fingerprints, and labels in the classes of a model."""

import dataclasses

import numpy as np
import pytest

from tests.infer import standins as s
from vidx import errors
from vidx.data import records
from vidx.data.records import Dataset, Media, Record, Target

VERBS, NOUNS = ("cut", "open"), ("apple", "door", "egg")


def verbs_and_nouns(labels=((0, (0, 2)), (1, (1,))), verbs=VERBS):
  made = tuple(Record(f"v{i}", Media(f"v{i}.mp4"), labels={"verb": verb, "noun": noun})
               for i, (verb, noun) in enumerate(labels))
  return Dataset("n", "val", made, named={"verb": Target(verbs), "noun": Target(NOUNS, True)})


def test_one_label_is_the_target_of_that_name():
  dataset = s.split()
  assert dataset.targets == {"label": Target(dataset.classes)}
  assert dataset.records[0].value("label") == dataset.records[0].label
  assert records.class_names(dataset) == list(dataset.classes)


def test_named_targets_stand_beside_it():
  dataset = verbs_and_nouns()
  assert list(dataset.targets) == ["verb", "noun"] and dataset.targets["noun"].several
  assert dataset.records[0].value("noun") == (0, 2) and dataset.records[0].value("label") == -1
  assert records.class_names(dataset) == {"verb": list(VERBS), "noun": list(NOUNS)}
  both = dataclasses.replace(dataset, classes=("a", "b"))
  assert list(both.targets) == ["label", "verb", "noun"]


def test_a_fingerprint_knows_all_targets_and_companions(tmp_path):
  plain = verbs_and_nouns()
  assert plain.fingerprint() == verbs_and_nouns().fingerprint()
  assert plain.fingerprint() != verbs_and_nouns(((0, (0, 2)), (0, (1,)))).fingerprint()
  assert plain.fingerprint() != verbs_and_nouns(verbs=("cut", "close")).fingerprint()
  path = tmp_path / "boxes.npz"
  path.write_bytes(b"12")
  with_file = lambda: dataclasses.replace(plain, records=tuple(
      dataclasses.replace(r, companions={"boxes": Media(str(path), "npz")}) for r in plain.records)).fingerprint()
  first = with_file()
  path.write_bytes(b"123")
  assert plain.fingerprint() != first != with_file()


def test_every_target_moves_to_the_classes_of_the_model():
  moved = records.aligned(verbs_and_nouns(), {"verb": ("open", "cut"), "noun": NOUNS})
  assert [r.labels["verb"] for r in moved.records] == [1, 0] and moved.named["verb"].classes == ("open", "cut")
  assert [r.labels["noun"] for r in moved.records] == [(0, 2), (1,)]
  with pytest.raises(errors.DataError, match="'open'.*|target 'verb'"):
    records.aligned(verbs_and_nouns(), {"verb": ("cut",)})


def test_labels_are_moved_to_the_classes_of_the_model():
  dataset = s.split()
  model_classes = ("extra", *reversed(dataset.classes))
  moved = records.aligned(dataset, {"label": model_classes})
  for old, new in zip(dataset.records, moved.records):
    assert dataset.classes[old.label] == model_classes[new.label]
  assert records.aligned(dataset, {"label": dataset.classes}) is dataset


def test_a_class_that_the_model_does_not_know_is_named():
  with pytest.raises(errors.DataError, match="'class 4'"):
    records.aligned(s.split(), {"label": s.split().classes[:4]})


def test_transcripts_and_runs_count_in_the_classes_of_the_model():
  record = Record("v", Media("v.npy", "features"), (0, 1), extra={"transcript": (1, 0), "runs": ((1, 5), (0, 2))})
  moved, = records.aligned(Dataset("long", "val", (record,), ("a", "b"), multilabel=True),
                           {"label": ("b", "c", "a")}).records
  assert moved.label == (2, 0) and moved.extra == {"transcript": (0, 2), "runs": ((0, 5), (2, 2))}


def test_facts_count_in_the_classes_of_the_model():
  facts = {"among": ("Some", (0, 2)), "evaluated": (1, 2), "action_ids": (7, 8, 9), "ids": ("v0", "v1")}
  dataset = Dataset("people", "val", (), ("a", "b", "c"), multilabel=True, facts=facts)
  moved = records.aligned(dataset, {"label": ("c", "new", "a", "b")}).facts
  assert moved == {"among": ("Some", (2, 0)), "evaluated": (3, 0), "action_ids": (9, -1, 7, 8), "ids": ("v0", "v1")}


def test_counts_of_pairs_move_with_their_verbs_and_nouns():
  pairs = np.arange(6).reshape(2, 3)
  dataset = dataclasses.replace(verbs_and_nouns(), facts={"pairs": pairs})
  moved = records.aligned(dataset, {"verb": ("open", "wash", "cut"), "noun": NOUNS}).facts["pairs"]
  assert moved.tolist() == [pairs[1].tolist(), [0, 0, 0], pairs[0].tolist()]
  moved = records.aligned(dataset, {"verb": VERBS, "noun": NOUNS[::-1]}).facts["pairs"]
  np.testing.assert_array_equal(moved, pairs[:, ::-1])
