"""From clips in folders to images: triplets, training that resumes exactly, evaluation, generation, report."""

import json
import shutil

import cv2
import numpy as np
import pytest

from tests.data.test_triplets import write_clips
from tests.system.conftest import losses
from vidx import cli, errors
from vidx.infer import evaluate, generate, load
from vidx.train import config, loop


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp("crops")
  for split in ("train", "val"):
    write_clips(root, split)
    assert cli.main(["data", "triplets", f"--root={root}", f"--split={split}", "count=12", "clusters=3",
                     f"balance={split == 'train'}"]) == 0
  return root


def settings(root, name="disentangle"):
  c = config.load_file(f"configs/folder/disentangle.py:{'full' if name == 'disentangle' else name}")
  less = dict(width=4, downs=1, blocks=1, critic_width=4)
  c.system = {"name": name, **less, **({"clips": 3, "distance": "l1", "scales": 1} if name == "disentangle" else {})}
  c.data.update(root=str(root), crop=32, workers=0)
  c.optimizer.frozen = ()
  c.train.update(batch_size=4, init_from=(), log_every=1)
  c.schedule.epochs = 2.0
  c.eval.update(batch_size=4, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=3)
  return c


def test_it_trains_resumes_evaluates_generates_and_reports(root, tmp_path, capsys):
  loop.train(settings(root), str(tmp_path / "whole"))
  shutil.copytree(tmp_path / "whole", tmp_path / "again")
  shutil.rmtree(tmp_path / "again" / "checkpoints" / "6")
  (tmp_path / "again" / "DONE.json").unlink()
  loop.train(settings(root), str(tmp_path / "again"))
  assert "resumed at step 3" in capsys.readouterr().out
  assert losses(tmp_path / "again") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == 6

  run = str(tmp_path / "whole")
  result = evaluate.evaluate_workdir(run)
  assert {"psnr", "l1", "colour"} <= set(result["metrics"])
  folders = [str(root / "clips/val" / name) for name in ("video0__0", "video1__0")]
  out = tmp_path / "made"
  assert cli.main(["generate", f"--workdir={run}", f"--identities={folders[0]}", f"--poses={folders[1]}",
                   f"--out={out}"]) == 0
  assert len(list(out.glob("*__*.png"))) == 16
  matrix = cv2.imread(str(out / "matrix.png"))
  assert matrix.shape == (5 * 32, 5 * 32, 3)
  np.testing.assert_array_equal(matrix[32:64, 32:64], cv2.imread(str(out / "000__000.png")))

  generator = generate.Generator(load.load_checkpoint(run))
  photo, donor = np.full((50, 60, 3), 90, np.uint8), np.full((20, 20, 3), 200, np.uint8)
  whole = generate.compose(generator, photo, (10, 5, 40, 45), donor, np.ones((40, 30)))
  soft = generate.compose(generator, photo, (10, 5, 40, 45), donor)
  np.testing.assert_array_equal(soft[:5], photo[:5])
  assert (whole[5:45, 10:40] != soft[5:45, 10:40]).any() and (whole[:, 40:] == 90).all()
  for box, mask, word in (((10, 5, 70, 45), None, "does not lie"), ((0, 0, 8, 8), np.ones((3, 3)), "mask")):
    with pytest.raises(errors.DataError, match=word):
      generate.compose(generator, photo, box, donor, mask)
  assert cli.main(["report", f"--workdir={run}"]) == 0
  assert json.loads((tmp_path / "whole" / "config.json").read_text())["task"]["name"] == "generation"


@pytest.mark.parametrize("name", ["drnet"])
def test_baselines_train_on_the_same_triplets(name, root, tmp_path):
  c = settings(root, name)
  c.train.max_steps = 1
  loop.train(c, str(tmp_path / name))
  assert len(losses(tmp_path / name)) == 1


def test_what_cannot_be_generated_is_said_in_one_line(root, tmp_path, capsys):
  assert cli.main(["data", "triplets", f"--root={tmp_path}"]) == 2
  assert "clips are folders of images" in capsys.readouterr().err
  assert cli.main(["generate", "--workdir=nowhere", f"--identities={root}", f"--poses={root}", "--out=x"]) == 2
  assert "no images there" in capsys.readouterr().err
