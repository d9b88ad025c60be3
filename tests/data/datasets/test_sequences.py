"""Readers of long videos with frame labels: on small folders in every public layout, and on real labels."""

import numpy as np
import pytest

from vidx import errors
from vidx.data import datasets, feature_files
from vidx.data.datasets import sequences

CLASSES = ("SIL", "pour_milk", "stir_milk")
LABELS = {"P03_a": (0, 0, 1, 1, 1, 2, 0), "P16_b": (0, 2, 2, 2, 0, 0), "P04_c": (1, 1, 1, 2)}
TRAIN, TEST = ("P16_b",), ("P03_a", "P04_c")


def write(path, *lines):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(f"{line}\n" for line in lines))


def save(path, array):
  path.parent.mkdir(parents=True, exist_ok=True)
  np.save(path, array)


def features_of(video, size=64):
  return np.random.default_rng(len(LABELS[video])).normal(size=(len(LABELS[video]), size)).astype("f")


def transcript(video):
  return [c for i, c in enumerate(LABELS[video]) if i == 0 or LABELS[video][i - 1] != c]


def lengths(video):
  return [int(n) for n in np.diff([i for i, c in enumerate(LABELS[video]) if i == 0 or LABELS[video][i - 1] != c]
                                  + [len(LABELS[video])])]


def ms_tcn(root):
  write(root / "mapping.txt", *(f"{i} {c}" for i, c in enumerate(CLASSES)))
  for name, videos in (("train", TRAIN), ("test", TEST)):
    write(root / f"splits/{name}.split1.bundle", *(f"{v}.txt" for v in videos))
  for v, labels in LABELS.items():
    save(root / f"features/{v}.npy", features_of(v, 2048).T)
    write(root / f"groundTruth/{v}.txt", *(CLASSES[c] for c in labels))


def nn_viterbi(root):
  write(root / "mapping.txt", *(f"{i} {c}" for i, c in reversed(list(enumerate(CLASSES)))))
  write(root / "split1.train", *TRAIN)
  write(root / "split1.test", *TEST)
  for v, labels in LABELS.items():
    save(root / f"features/{v}.npy", features_of(v).T)
    write(root / f"groundTruth/{v}.txt", *(CLASSES[c] for c in labels))
    write(root / f"transcripts/{v}.txt", *(CLASSES[c] for c in transcript(v)))


def mucon(root):
  write(root / "mapping.txt", *(f"{i} {c}" for i, c in enumerate(CLASSES)))
  write(root / "split1.train", *TRAIN)
  write(root / "split1.test", *TEST)
  for v, labels in LABELS.items():
    save(root / f"features/{v}.npy", features_of(v, 2048))
    save(root / f"labels/{v}.npy", np.array(labels))
    save(root / f"transcripts/{v}.npy", np.array(transcript(v)))
    save(root / f"lengths/{v}.npy", np.array(lengths(v)))


def spans(v):
  ends = np.cumsum(lengths(v))
  return [f"{end - n + 1}-{end} {CLASSES[c]}  " for end, n, c in zip(ends, lengths(v), transcript(v))]


def breakfast(root):
  for v in LABELS:
    write(root / f"segmentation_coarse/milk/{v}.txt", *spans(v))
    rows = features_of(v)
    write(root / f"breakfast_data/s1/milk/{v}.txt",
          *(" ".join(map(str, [i + 1, *(float(x) for x in row)])) for i, row in enumerate(rows)))


def own(root):
  write(root / "classes.txt", *CLASSES)
  write(root / "train.txt", *TRAIN)
  write(root / "val.txt", *TEST)
  for i, (v, labels) in enumerate(LABELS.items()):
    save(root / f"features/{v}.npy", features_of(v))
    if i == 0:
      write(root / f"labels/{v}.txt", *spans(v))
    elif i == 1:
      write(root / f"labels/{v}.txt", *(CLASSES[c] for c in labels))
    else:
      save(root / f"labels/{v}.npy", np.array(labels))


LAYOUTS = {"ms_tcn": ms_tcn, "nn_viterbi": nn_viterbi, "mucon": mucon, "breakfast": breakfast, "segments": own}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_videos(tmp_path, name):
  LAYOUTS[name](tmp_path)
  for split, videos in (("train", TRAIN), ("val", TEST)):
    found = datasets.load(name, str(tmp_path), split)
    assert found.classes == CLASSES and found.multilabel and not found.missing
    assert [r.id.split("/")[-1] for r in found.records] == list(videos)
    for v, r in zip(videos, found.records):
      assert r.label == tuple(sorted(set(LABELS[v]))) and r.media.kind == "features"
      assert r.extra["transcript"] == tuple(transcript(v)) and r.extra["runs"] == tuple(zip(transcript(v), lengths(v)))
      x, labels = feature_files.load(r)
      assert labels.tolist() == list(LABELS[v]) and labels.dtype == np.int32
      np.testing.assert_allclose(x, features_of(v, x.shape[1]), rtol=1e-6)
      assert x.shape[1] == (2048 if name in ("ms_tcn", "mucon") else 64) and x.dtype == np.float32


@pytest.mark.parametrize("name", ["ms_tcn", "nn_viterbi", "mucon", "segments"])
def test_the_other_order_of_axes_is_noticed(tmp_path, name):
  LAYOUTS[name](tmp_path)
  for v in LABELS:
    path = tmp_path / f"features/{v}.npy"
    np.save(path, np.load(path).T)
  record = datasets.load(name, str(tmp_path), "train").records[0]
  assert feature_files.load(record).features.shape[0] == len(LABELS[TRAIN[0]])


@pytest.mark.parametrize("shape, frames, usual, axis", [
    ((2048, 500), 500, 0, 1), ((2048, 500), 2000, 1, 0), ((500, 64), 0, 1, 0), ((64, 2048), 0, 1, 1),
    ((64, 2048), 2040, 0, 1), ((300, 400), 0, 0, 0), ((300, 400), 398, 0, 1), ((18, 40), 1000, 1, 1)])
def test_time_is_the_axis_as_long_as_the_labels(shape, frames, usual, axis):
  assert sequences.time_axis(shape, frames, usual) == axis


def test_features_and_labels_are_cut_to_the_shorter(tmp_path):
  mucon(tmp_path)
  save(tmp_path / "features/P16_b.npy", np.ones((4, 2048)))
  x, labels = feature_files.load(datasets.load("mucon", str(tmp_path), "train").records[0])
  assert x.shape == (4, 2048) and labels.tolist() == [0, 2, 2, 2]


def test_weak_labels_need_no_frame_labels(tmp_path):
  nn_viterbi(tmp_path)
  (tmp_path / "groundTruth/P16_b.txt").unlink()
  record = datasets.load("nn_viterbi", str(tmp_path), "train").records[0]
  assert record.extra["runs"] == () and record.extra["transcript"] == (0, 2, 0) and record.label == (0, 2)
  assert feature_files.load(record).labels is None


def test_own_videos_need_no_frame_labels(tmp_path):
  own(tmp_path)
  (tmp_path / "labels/P16_b.txt").unlink()
  write(tmp_path / "transcripts/P16_b.txt", *(CLASSES[c] for c in transcript("P16_b")))
  record, = datasets.load("segments", str(tmp_path), "train").records
  assert record.extra["runs"] == () and record.extra["transcript"] == (0, 2, 0) and record.extra["frames"] == 6


def test_without_lists_the_last_digit_is_the_fold(tmp_path):
  write(tmp_path / "mapping.txt", "0 a")
  for i in range(20):
    save(tmp_path / f"features/{i:04d}.npy", np.ones((64, 9)))
    write(tmp_path / f"transcripts/{i:04d}.txt", "a")
  train, test = (datasets.load("nn_viterbi", str(tmp_path), s, fold=4) for s in ("train", "test"))
  assert [r.id for r in test.records] == ["0003", "0013"] and len(train) == 18


def test_own_videos_are_split_without_lists(tmp_path):
  own(tmp_path)
  (tmp_path / "train.txt").unlink(), (tmp_path / "val.txt").unlink()
  parts = [[r.id for r in datasets.read("segments", str(tmp_path), s).records] for s in ("train", "val", "test")]
  assert sorted(sum(parts, [])) == sorted(LABELS) and not parts[2]


def missing_frames(root):
  save(root / "features/P16_b.npy", np.ones((2048, 900)))


def no_array(root):
  (root / "features/P16_b.npy").write_text("not an array")


def one_axis(root):
  save(root / "features/P16_b.npy", np.ones(6))


def unknown_class(root):
  write(root / "groundTruth/P16_b.txt", "SIL", "stir_mlik")


def no_labels(root):
  (root / "groundTruth/P16_b.txt").unlink()


def empty_labels(root):
  write(root / "groundTruth/P16_b.txt")


def twice_in_map(root):
  write(root / "mapping.txt", "0 SIL", "0 pour_milk")


def gap_in_map(root):
  write(root / "mapping.txt", "0 SIL", "2 pour_milk")


def in_both_lists(root):
  write(root / "splits/test.split1.bundle", "P16_b.txt")


@pytest.mark.parametrize("damage, said", [
    (missing_frames, r"P16_b.npy: 900 frames, but 6 are labelled"),
    (one_axis, r"P16_b.npy: of shape \(6,\)"),
    (unknown_class, "P16_b.txt, line 2: label 'stir_mlik'.*nearest: 'stir_milk'"),
    (no_labels, "P16_b.txt does not exist"), (empty_labels, "video 'P16_b'"), (twice_in_map, "mapping.txt, line 2"),
    (gap_in_map, "mapping.txt: the class ids are not 0 to 1"),
    (in_both_lists, "'P16_b' stands already in .*train.split1")])
def test_a_broken_file_is_named(tmp_path, damage, said):
  ms_tcn(tmp_path)
  damage(tmp_path)
  with pytest.raises(errors.DataError, match=said):
    datasets.load("ms_tcn", str(tmp_path), "train")


def test_an_empty_transcript_is_told_from_labels_that_are_missing(tmp_path):
  nn_viterbi(tmp_path)
  write(tmp_path / f"transcripts/{TRAIN[0]}.txt")
  with pytest.raises(errors.DataError, match=f"'{TRAIN[0]}': its transcript names no action, though it has labels"):
    datasets.load("nn_viterbi", str(tmp_path), "train")
  (tmp_path / f"groundTruth/{TRAIN[0]}.txt").unlink()
  with pytest.raises(errors.DataError, match=f"'{TRAIN[0]}': it has no labels and no transcript"):
    datasets.load("nn_viterbi", str(tmp_path), "train")


def test_a_file_that_is_no_array_is_named_when_it_is_read(tmp_path):
  ms_tcn(tmp_path)
  no_array(tmp_path)
  record, = datasets.load("ms_tcn", str(tmp_path), "train").records
  assert record.extra["frames"] == len(LABELS["P16_b"]) and feature_files.size_of(record) is None
  with pytest.raises(errors.DecodeError, match="P16_b.npy cannot be read"):
    feature_files.load(record)


def test_features_of_another_size_are_named(tmp_path):
  ms_tcn(tmp_path)
  save(tmp_path / "features/P04_c.npy", np.ones((64, 4)))
  with pytest.raises(errors.DataError, match="P04_c.npy: 64 per frame, but those before have 2048"):
    datasets.load("ms_tcn", str(tmp_path), "val")


def test_missing_features_are_counted(tmp_path):
  ms_tcn(tmp_path)
  (tmp_path / "features/P04_c.npy").unlink()
  assert datasets.read("ms_tcn", str(tmp_path), "val").missing == ("P04_c",)


@pytest.mark.parametrize("lines, said", [(["1-3 SIL", "5-6 SIL"], "line 2: the span 5-6 does not follow frame 3"),
                                         (["1-3"], "line 1: expected `start-end name`"),
                                         (["1-x SIL"], "line 1: end 'x'")])
def test_broken_spans_are_named(tmp_path, lines, said):
  breakfast(tmp_path)
  write(tmp_path / "mapping.txt", *(f"{i} {c}" for i, c in enumerate(CLASSES)))
  write(tmp_path / "segmentation_coarse/milk/P16_b.txt", *lines)
  with pytest.raises(errors.DataError, match=said):
    datasets.load("breakfast", str(tmp_path), "train")


def test_arrays_that_contradict_each_other_are_named(tmp_path):
  mucon(tmp_path)
  save(tmp_path / "lengths/P16_b.npy", np.array([1, 3, 9]))
  with pytest.raises(errors.DataError, match="lengths/P16_b.npy: its segments are not those of"):
    datasets.load("mucon", str(tmp_path), "train")
  save(tmp_path / "labels/P16_b.npy", np.array([0, 7]))
  with pytest.raises(errors.DataError, match="labels/P16_b.npy: class id 7 is none of the 3 classes"):
    datasets.load("mucon", str(tmp_path), "train")


def test_numbers_that_are_none_are_named_when_they_are_read(tmp_path):
  mucon(tmp_path)
  save(tmp_path / "features/P16_b.npy", np.where(np.arange(6)[:, None] == 4, np.nan, np.ones((6, 2048))))
  with pytest.raises(errors.DataError, match="P16_b.npy: frame 4 holds no numbers"):
    feature_files.load(datasets.load("mucon", str(tmp_path), "train").records[0])


def test_real_labels_of_breakfast_are_read(real_data, tmp_path):
  source = real_data("breakfast_labels")
  rows = [line.split(",") for line in (source / "groundtruth_rle.csv").read_text().splitlines()[1:]]
  (tmp_path / "mapping.txt").write_bytes((source / "mapping_bf.txt").read_bytes())
  write(tmp_path / "splits/train.split1.bundle", "#bundle", *(f"{r[0]}.txt" for r in rows[::20]))
  (tmp_path / "splits/test.split1.bundle").write_bytes((source / "test.split1.bundle").read_bytes())
  for video, frames, segments, _ in rows[::20]:
    cut = [s.split(":") for s in segments.split()]
    write(tmp_path / f"groundTruth/{video}.txt", *(name for name, n in cut for _ in range(int(n))))
    save(tmp_path / f"features/{video}.npy", np.zeros((4, int(frames)), "f"))
  found = datasets.load("ms_tcn", str(tmp_path), "train")
  assert len(datasets.read("ms_tcn", str(tmp_path), "test").missing) == 252
  assert len(found) == len(rows[::20]) and len(found.classes) == 48 and found.classes[0] == "SIL"
  for record, (_, frames, segments, _) in zip(found.records, rows[::20]):
    assert " ".join(f"{found.classes[c]}:{n}" for c, n in record.extra["runs"]) == segments
    assert sum(n for _, n in record.extra["runs"]) == int(frames) and record.extra["time_axis"] == 1
