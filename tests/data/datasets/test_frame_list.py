import pytest

from vidx import errors
from vidx.data import datasets


@pytest.fixture
def root(tmp_path):
  for name in ("v_a", "v_b", "deep/v_c"):
    (tmp_path / "frames" / name).mkdir(parents=True)
  (tmp_path / "classInd.txt").write_text("0 Archery\n1 Ballet\n2 Long jump\n")
  (tmp_path / "act_train.txt").write_text("v_a,30,2,0,-1\nv_b,4,1,-1,-1\nv_gone,9,0,-1,-1\n")
  (tmp_path / "mini_train.txt").write_text("deep/v_c 12 1\n\nv_a 3 0\n")
  return tmp_path


def load(root, file="act_{split}.txt", **options):
  return datasets.load("frame_list", str(root), "train", max_missing=0.5, file=file, **options)


def test_labels_with_commas_may_be_several(root):
  dataset = load(root, multilabel=True)
  assert [(r.id, r.label) for r in dataset.records] == [("v_a", (0, 2)), ("v_b", (1,))]
  assert dataset.multilabel and dataset.missing == ("v_gone",) and dataset.classes == ("Archery", "Ballet", "Long jump")
  media = dataset.records[0].media
  assert (media.kind, media.pattern, media.path) == ("frames", "image_{:05d}.jpg", str(root / "frames/v_a"))
  assert [r.label for r in load(root).records] == [2, 1]


def test_lines_with_spaces_have_one_label(root):
  dataset = load(root, "mini_{split}.txt", pattern="{:05d}.jpg")
  assert [(r.id, r.label) for r in dataset.records] == [("deep/v_c", 1), ("v_a", 0)]


@pytest.mark.parametrize("text, words", [
    ("v_a,30", "is not path"), ("v_a,30,x", "label 'x'"), ("v_a,30,3", "label 3 is none of the 3"),
    ("v_a,30,-1", "label -1 is none"), ("v_a,3,1\nv_a,3,1", "line 2: 'v_a' stands already")])
def test_a_bad_line_is_named(root, text, words):
  (root / "act_train.txt").write_text(text)
  with pytest.raises(errors.DataError, match=words) as e:
    load(root)
  assert "act_train.txt, line" in str(e.value)


def test_the_list_has_to_be_named(root):
  with pytest.raises(errors.ConfigError, match="actnet_{split}_split.txt"):
    load(root, "")
