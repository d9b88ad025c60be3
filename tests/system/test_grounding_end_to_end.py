"""Phrase grounding on stills of Toybox: both stages, from sentences and images to masks over new ones."""

import json
import pathlib

import cv2
import numpy as np
import pytest

from tests.system.conftest import ROOT, goes_on_exactly, losses
from vidx import cli, errors
from vidx.data import clips, phrase_codes, records, toybox, vocabulary
from vidx.infer import evaluate, ground, load
from vidx.show import report
from vidx.train import config, dry_run, loop


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  root = tmp_path_factory.mktemp("stills")
  toybox.build(str(root), labels="sentences", layout="coco", split=(16, 6, 0), size=(32, 48), workers=1)
  return root


def tiny(world, word="ours"):
  c = config.load_file(str(ROOT / f"configs/toybox/grounding.py:{word}"))
  c.data.root = str(world)
  c.system.update(width=8, **({"hidden": 8} if word == "language" else dict(dim=8, hidden=8, widths=((4,), (6,)))))
  c.schedule.update(epochs=1.0 if word == "language" else 3.0)
  if word != "language":
    c.data.update(crop=32, whole=(32, 32))
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=4, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=4)
  return c


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
  at = tmp_path_factory.mktemp("runs")
  loop.train(tiny(world, "language"), str(at / "toybox_language"))
  loop.train(tiny(world), str(at / "grounding"), runs=str(at))
  return at


def test_both_stages_train_and_codes_are_kept_once(world, runs, capsys, tmp_path):
  assert len(losses(runs / "toybox_language")) == 6 and len(losses(runs / "grounding")) == 6
  codes = phrase_codes.Codes(str(runs / "toybox_language" / "phrases"))
  assert codes.width == 8 and not codes.lacking(["circle", "a circle", "square"])
  written = (runs / "toybox_language" / "phrases" / "codes.npy").stat().st_mtime_ns
  loop.train(config.override(tiny(world, "disc_only"), ["train.max_steps=1"]), str(tmp_path / "disc"), runs=str(runs))
  assert "codes of" not in capsys.readouterr().out
  assert (runs / "toybox_language" / "phrases" / "codes.npy").stat().st_mtime_ns == written


def test_a_dry_run_makes_no_codes(world, tmp_path):
  words = tmp_path / "vocab.txt"
  words.write_text("\n".join(vocabulary.words(["a red circle left of a blue square"])))
  c = config.override(tiny(world), [f"data.phrases.codes={tmp_path}/phrases", f"data.text.vocab={words}"])
  c.train.init_from = ()
  assert np.isfinite(dry_run.dry_run(c)["loss"]) and not (tmp_path / "phrases").exists()


def test_kept_codes_and_words_that_are_read_each_time_learn_alike(world, runs, tmp_path):
  c = config.override(tiny(world), ["data.phrases.codes=", "train.max_steps=3"])
  loop.train(c, str(tmp_path / "read"), runs=str(runs))
  kept = losses(runs / "grounding")
  for step, value in losses(tmp_path / "read").items():
    assert value == pytest.approx(kept[step], abs=2e-5)


@pytest.mark.parametrize("stage, word, steps", [("toybox_language", "language", 6), ("grounding", "ours", 6)])
def test_a_stage_resumes_exactly(world, runs, capsys, stage, word, steps):
  goes_on_exactly(tiny(world, word), runs / stage, capsys, at=4, steps=steps, runs=runs)


def test_they_evaluate_and_report(world, runs):
  words = evaluate.evaluate_workdir(str(runs / "toybox_language"))
  assert words["headline"] == "next word" and words["metrics"]["perplexity"] > 1
  assert words["protocol"]["views"] == "whole"
  found = evaluate.evaluate_workdir(str(runs / "grounding"))
  assert {"pointing", "pointing/random", "mAP", "mAP@0.3", "mAP@0.4", "mAP@0.5"} <= set(found["metrics"])
  assert found["samples"][0]["phrases"][0]["point"] and "mAP/present" not in found["metrics"]
  every = evaluate.evaluate_workdir(str(runs / "grounding"), overrides=["data.dataset.asked=all"])
  assert every["metrics"]["mAP/present"] == pytest.approx(found["metrics"]["mAP"], abs=1e-3)
  assert every["metrics"]["mAP"] <= found["metrics"]["mAP"] + 1e-6
  assert every["metrics"]["pointing"] == found["metrics"]["pointing"]
  boxes = evaluate.evaluate_workdir(str(runs / "grounding"), overrides=["data.dataset.name=visual_genome"])
  assert "mAP" not in boxes["metrics"] and boxes["metrics"]["pointing"] >= 0
  for stage in ("toybox_language", "grounding"):
    page = pathlib.Path(report.write_report(str(runs / stage))).read_text()
    assert ("pointing" if stage == "grounding" else "perplexity") in page


def test_phrases_are_found_in_an_image_and_in_every_frame_of_a_video(world, runs, tmp_path, capsys):
  image = sorted((world / "val2014").glob("*.png"))[0]
  toybox.build(str(tmp_path / "toy"), split=(1, 0, 0), size=(36, 50), frames=5, workers=1)
  video = next((tmp_path / "toy").rglob("*.mp4"))
  (tmp_path / "broken.mp4").write_bytes(b"no video")
  out = tmp_path / "out"
  words = ["predict", f"--workdir={runs / 'grounding'}", f"--out={out}", "--phrase=a red circle; a purple square"]
  assert cli.main([*words, "--json", "--show=phrases", str(image), str(video), str(tmp_path / "broken.mp4")]) == 1
  said = capsys.readouterr()
  found = json.loads(said.out)
  assert f"cannot be read: {tmp_path / 'broken.mp4'}: " in said.err
  assert found == json.loads((out / "phrases.json").read_text())
  assert [f["frames"] for f in found] == [1, 5, 0] and found[2]["error"] and not found[0]["error"]
  mask = cv2.imread(str(out / f"{image.stem}_0.png"), 0)
  assert mask.shape == (32, 48)
  first = found[0]["found"][0]["phrases"][0]
  x, y = first["point"]
  assert mask[y, x] == mask.max() == round(255 * first["highest"])
  assert len(list((out / f"{video.stem}_1").glob("*.png"))) == 5
  with clips.open_media(records.media_of(str(out / f"{video.stem}_1.mp4"))) as over:
    assert over.num_frames == 5
  picture = cv2.imread(str(out / f"{image.stem}_0_over.png"))
  assert (np.abs(picture.astype(int) - (255, 255, 0)).max(-1) < 40).any()  # the dot
  page = (out / "index.html").read_text()
  assert "1 of its words are unknown" in page and "data:video/mp4" in page and "data:image/png" in page
  assert cli.main([*words, str(image)]) == 0
  assert "a red circle at" in capsys.readouterr().out


@pytest.mark.parametrize("phrase, words", [
    (" ; ", "is empty"), ("a ?; ...", "is empty"), ("purple", "none of the words of 'purple'"),
    (" ".join(["a red circle"] * 5), "15 words, and the model takes 12")])
def test_phrases_that_cannot_be_found_are_one_line(world, runs, capsys, phrase, words):
  assert cli.main(["predict", f"--workdir={runs / 'grounding'}", f"--phrase={phrase}", str(world / "val2014")]) == 2
  said = capsys.readouterr().err
  assert words in said and said.count("\n") == 1


def test_runs_and_flags_that_do_not_fit_are_one_line(world, runs, capsys):
  for stage, flags, words in (("grounding", [], "add --phrase"), ("toybox_language", [], "sees no videos"),
                              ("toybox_language", ["--phrase=a"], "does not ground phrases"),
                              ("grounding", ["--phrase=a circle", "--show=kept"], "phrases")):
    assert cli.main(["predict", f"--workdir={runs / stage}", *flags, str(world / "val2014")]) == 2
    assert words in capsys.readouterr().err


def test_names_of_real_videos_are_phrases(world, runs, real_data):
  loaded = load.load_checkpoint(str(runs / "grounding"))
  grounder = ground.Grounder(loaded, ["a circle"])
  folder = next(p for p in sorted((real_data("davis2016_val") / "JPEGImages/240p").iterdir()) if p.is_dir())
  some = next(grounder.ground(str(folder)))
  assert some.masks.shape == (len(some.frames), 1, *some.frames.shape[1:3]) and some.fps >= 0
  assert (some.masks >= 0).all() and (some.masks <= 1).all()
  with pytest.raises(errors.DataError, match="none of the words"):
    ground.Grounder(loaded, [folder.name])


def test_recipes_that_cannot_be_are_one_line(world, runs, tmp_path):
  for key, value, message in (("optimizer.accumulate", "2", "cannot be cut into micro-batches"),
                              ("system.vocab", "5", "system.vocab is 5"),
                              ("data.phrases.take", "nouns", "tree, leaves"),
                              ("data.text.vocab", "none.txt", "there is no vocabulary at"),
                              ("task.threshold", "half", "middle, printed"),
                              ("task.pc", "-1.0", "below 0")):
    with pytest.raises(errors.UserError, match=message):
      loop.train(config.override(tiny(world), [f"{key}={value}"]), str(tmp_path / key), runs=str(runs))
  with pytest.raises(errors.ConfigError, match="add --runs=FOLDER"):
    loop.train(tiny(world), str(tmp_path / "alone"))
