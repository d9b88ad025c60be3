"""From clips in folders to images: triplets, training that resumes exactly, evaluation, generation, report."""

import json

import cv2
import numpy as np
import pytest

from tests.system.conftest import goes_on_exactly, losses
from vidx import cli, errors
from vidx.infer import evaluate, generate, load
from vidx.train import config, loop

pytestmark = pytest.mark.usefixtures("plain_convolutions")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  root = tmp_path_factory.mktemp("crops")
  assert cli.main(["data", "toybox", f"--out={root}", "--labels=turntable", "split=3,2,0", "size=32,32", "frames=4",
                   "--workers=1"]) == 0
  for split in ("train", "val"):
    assert cli.main(["data", "triplets", f"--root={root}", f"--split={split}", "count=12", "clusters=3",
                     f"balance={split == 'train'}"]) == 0
  return root


def settings(root, name="full"):
  c = config.load_file(f"configs/toybox/disentangle.py:{name}")
  c.system = {**c.system.to_dict(), "width": 4, "downs": 1, "blocks": 1, "critic_width": 4,
              **({"clips": 3, "scales": 1} if name == "full" else {})}
  c.data.update(root=str(root), crop=32)
  c.data.dataset.draws = 12
  c.train.update(batch_size=4, log_every=1)
  c.schedule.epochs = 2.0
  c.eval.update(batch_size=4, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=3)
  return c


def test_it_trains_resumes_evaluates_generates_and_reports(root, tmp_path, capsys):
  loop.train(settings(root), str(tmp_path / "whole"))
  said = capsys.readouterr().out
  assert " 12 triplets to train on" in said and " triplets/s" in said and "clips" not in said
  goes_on_exactly(settings(root), tmp_path / "whole", capsys, at=3, steps=6)

  run = str(tmp_path / "whole")
  result = evaluate.evaluate_workdir(run)
  assert {"psnr", "l1", "colour"} <= set(result["metrics"])
  judge = config.load_file("configs/folder/image_judge.py:small")
  judge.system.update(stages=(1,), width=4)
  judge.data.update(root=str(root), crop=32, workers=0)
  judge.data.dataset.draws = 8
  judge.train.update(batch_size=4, max_steps=2)
  loop.train(judge, str(tmp_path / "judge"))
  assert cli.main(["eval", f"--workdir={run}", f"--judges=identity={tmp_path}/judge"]) == 0
  told = json.loads(next((tmp_path / "whole/eval").glob("*.json")).read_text())
  assert 0.26 < told["metrics"]["identity score"] < 0.74 and "step 2" in told["judges"]["identity score"]
  assert cli.main(["eval", f"--workdir={run}", f"--judges=fid={tmp_path}/judge"]) == 2
  assert "with the weights 'pt_inception-2015-12-05' only" in capsys.readouterr().err
  folders = [str(root / "clips/val" / name) for name in ("toyval00000", "toyval00001")]
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
  boxes = tmp_path / "boxes.csv"
  cv2.imwrite(str(tmp_path / "photo.png"), photo)
  boxes.write_text("photo,left,top,right,bottom\nphoto.png,10,5,40,45\nphoto.png,0,0,30,30\n")
  command = ["generate", f"--workdir={run}", f"--identities={folders[0]}/000.png", f"--out={tmp_path}/composed",
             f"--boxes={boxes}"]
  assert cli.main(command) == 0
  assert {p.name for p in (tmp_path / "composed").iterdir()} == {
      "000__in__photo_0.png", "000__in__photo_1.png", "compositions.png"}
  put = cv2.imread(str(tmp_path / "composed/000__in__photo_0.png"))
  assert (put[:5] == 90).all() and (put[15:35, 20:30] != 90).any()
  boxes.write_text("photo,left,top,right,bottom\nphoto.png,10,5,70,45\n")
  assert cli.main(command) == 2 and "does not lie in a photo of 60x50" in capsys.readouterr().err
  for box, mask, word in (((10, 5, 70, 45), None, "does not lie"), ((0, 0, 8, 8), np.ones((3, 3)), "mask")):
    with pytest.raises(errors.DataError, match=word):
      generate.compose(generator, photo, box, donor, mask)
  assert cli.main(["report", f"--workdir={run}"]) == 0
  assert json.loads((tmp_path / "whole" / "config.json").read_text())["task"]["name"] == "generation"


@pytest.mark.parametrize("name", ["pix2pixhd", "one_hot", "drnet", "fusion_image"])
def test_baselines_train_on_the_same_triplets_and_make_images(name, root, tmp_path, capsys):
  c = settings(root, name)
  c.train.max_steps = 1
  loop.train(c, str(tmp_path / name))
  assert len(losses(tmp_path / name)) == 1
  assert np.isfinite(evaluate.evaluate_workdir(str(tmp_path / name))["metrics"]["psnr"])
  if name == "one_hot":
    folder = str(root / "clips/val/toyval00000")
    made = generate.generate(str(tmp_path / name), f"{folder}/000.png", folder, str(tmp_path / "made"))
    assert made["images"] == 4
    assert cli.main(["predict", f"--workdir={tmp_path}/{name}", folder]) == 2
    assert "use `vidx generate --identities" in capsys.readouterr().err


def test_files_of_one_name_make_images_of_their_own(tmp_path):
  names = {"who": ("a.png", "a.jpg", "a__b.png"), "how": ("b.png", "b__b.png", "b.bmp")}
  for folder, files in names.items():
    (tmp_path / folder).mkdir()
    for i, name in enumerate(files):
      cv2.imwrite(str(tmp_path / folder / name), np.full((8, 8, 3), 40 * i, np.uint8))
  seen = []

  class Generator:
    side = 8

    def __call__(self, who, how):
      seen.extend(zip(who[:, 0, 0, 0].tolist(), how[:, 0, 0, 0].tolist()))
      return who // 2 + how // 4

  files = [generate.images_of(str(tmp_path / folder)) for folder in names]
  out = tmp_path / "out"
  out.mkdir()
  assert generate._in_poses(Generator(), files, str(out))["images"] == 9
  assert len(list(out.glob("*__*.png"))) == len(set(seen)) == 9
  boxes = tmp_path / "boxes.csv"
  boxes.write_text("photo,left,top,right,bottom\n" + "how/b.png,0,0,8,8\nhow/b.bmp,0,0,8,8\n")
  generate._in_photos(Generator(), files[0], generate.read_boxes(str(boxes)), str(out))
  assert len(list(out.glob("*__in__*.png"))) == 6


def test_what_grows_is_interpolated_and_not_of_equal_blocks():
  ramp = np.repeat(np.arange(8, dtype=np.uint8)[None, :, None] * 30, 8, 0).repeat(3, 2)
  asked = []

  class Generator:
    side = 8

    def __call__(self, who, how):
      asked.extend([who[0], how[0]])
      return who

  photo, whole = np.zeros((70, 70, 3), np.uint8), np.ones((64, 64))
  small = ramp[:, ::2].copy()[::2]
  made = generate.compose(Generator(), photo, (3, 3, 67, 67), small, whole)[3:67, 3:67]
  smooth = lambda x: len(np.unique(x[len(x) // 2, :, 0])) > 4  # more values than pixels that it was made of
  assert smooth(asked[0]) and np.abs(np.diff(made[32, :, 0].astype(int))).max() < 10
  sheet = generate._framed(ramp, 64)
  assert np.abs(np.diff(sheet[32, :, 0].astype(int))).max() < 10
  shrunk = generate.compose(Generator(), photo, (3, 3, 7, 7), ramp, np.ones((4, 4)))[3:7, 3:7]
  np.testing.assert_array_equal(shrunk, small + 15)  # means of 2x2


@pytest.mark.parametrize("fields, crop, words", [
    (dict(clips=2), 32, "system.clips is 2, but split 'train' has 3 clips: set system.clips=3"),
    (dict(downs=3), 20, "images of 20x20 pixels .*multiple of 8 that is at least 16"),
    (dict(name="pix2pixhd", poses=2), 32, "system.poses is 2, but split 'train' has 3 clusters of poses")])
def test_runs_that_could_not_train_are_refused_in_one_line(fields, crop, words, root, tmp_path):
  c = settings(root, "one_hot" if "poses" in fields else "full")
  c.system.update(fields)
  c.data.crop = crop
  with pytest.raises(errors.ConfigError, match=words) as e:
    loop.train(c, str(tmp_path / "run"))
  assert "\n" not in str(e.value) and not (tmp_path / "run").exists()


def test_boxes_that_cannot_be_used_name_their_file_line_and_photo(tmp_path):
  boxes, head = tmp_path / "boxes.csv", "photo,left,top,right,bottom\n"
  cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((50, 60, 3), np.uint8))
  for text, words in (("", "boxes.csv holds no boxes below its header"),
                      ("photo.png,0,0,9,9\nphoto.png,10,5,70,45\n",
                       r"boxes.csv, line 3, photo.png: the box \(10, 5, 70, 45\) does not lie in a photo of 60x50"),
                      ("gone.png,0,0,9,9\n", "boxes.csv, line 2, gone.png: "),
                      ("photo.png,0,0,x,9\n", "boxes.csv, line 2: right 'x'")):
    boxes.write_text(head + text)
    with pytest.raises(errors.DataError, match=words) as e:
      generate.generate("nowhere", str(tmp_path), "", str(tmp_path / "out"), boxes=str(boxes))
    assert "\n" not in str(e.value) and not (tmp_path / "out").exists()


def test_what_cannot_be_generated_is_said_in_one_line(root, tmp_path, capsys):
  assert cli.main(["data", "triplets", f"--root={tmp_path}"]) == 2
  assert "clips are folders of images" in capsys.readouterr().err
  assert cli.main(["generate", "--workdir=nowhere", f"--identities={root}", f"--poses={root}", "--out=x"]) == 2
  assert "no images there" in capsys.readouterr().err
