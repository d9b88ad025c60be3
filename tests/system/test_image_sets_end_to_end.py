"""The recipe of ImageNet, small, on images that TFDS has prepared; one of their records is damaged."""

import json

import pytest

from tests.data import image_sets
from tests.system.conftest import losses
from vidx.infer import evaluate
from vidx.train import config, loop


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  folder = image_sets.prepare(tmp_path_factory.mktemp("sets"), shards=1, train=33, validation=8, test=3)
  path = next(folder.glob("pets-train*"))
  data = bytearray(path.read_bytes())
  data[data.rindex(b"JFIF")] ^= 0xff
  path.write_bytes(bytes(data))
  return folder


def test_it_learns_from_a_set_of_tfds_and_counts_a_damaged_record_as_failing(root, tmp_path, capsys):
  c = config.load_file("configs/imagenet/ats.py")
  c.system.update(image=24, patch=8, dim=24, depth=2, heads=3, stages=(1,), keep=4, least=2, num_classes=2)
  c.data.update(dataset=dict(name="tfds"), root=str(root), short_side=28, crop=24, flip=False, workers=0)
  c.schedule.update(peak=3e-3, reference_batch=8, epochs=12.0)
  c.train.update(batch_size=8, mixup=0.0, cutmix=0.0)
  c.eval.update(batch_size=8, every_epochs=0.0)
  loop.train(c, str(tmp_path / "run"))
  seen = list(losses(tmp_path / "run").values())
  assert seen[-1] < 0.3 < seen[0]
  assert "1 of its 33 records have no label" in capsys.readouterr().out
  failed = json.loads((tmp_path / "run" / "DONE.json").read_text())["failures"]
  assert list(failed) == ["pets-train.array_record-00000-of-00001[32]"] and "is damaged" in str(failed)
  for split, count in (("", 8), ("test", 3)):
    result = evaluate.evaluate_workdir(str(tmp_path / "run"), split=split)
    assert result["evaluated"] == count and result["metrics"]["top-1"] == 100
