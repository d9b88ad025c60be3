"""Verbs and nouns on Toybox `hands`: the recipe of three stages, and IPL, from rendered video to words and pictures."""

import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

from tests.system.conftest import ROOT, goes_on_exactly, losses
from vidx import cli, errors
from vidx.data import clips, detections, toybox
from vidx.data.toybox import hands as hand_set
from vidx.infer import evaluate, explain, load, predict
from vidx.show import report
from vidx.train import config, loop


@pytest.fixture(scope="module")
def hands(tmp_path_factory):
  root = tmp_path_factory.mktemp("hands")
  toybox.build(str(root), labels="hands", split=(16, 6, 0), size=(32, 32), frames=12, fps=12.0, workers=1)
  return root


def tiny(file, hands, width=8):
  c = config.load_file(str(ROOT / "configs/toybox" / file))
  c.data.update(root=str(hands), frames=4, stride=1, whole=(32, 32))
  c.system.update(stages=(1,), width=width)
  c.schedule.update(epochs=1.0, warmup_epochs=0.0)
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=8, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=1)
  return c


def trained(file, hands, workdir, capsys):
  """Trains, with the stages before it beside it, and goes on exactly."""
  c = tiny(file, hands)
  loop.train(c, str(workdir), runs=str(workdir.parent))
  goes_on_exactly(c, workdir, capsys, at=1, steps=2, runs=workdir.parent)


def told_in_words(workdir, hands):
  result = evaluate.evaluate_workdir(str(workdir))
  assert result["evaluated"] == 6 and result["headline"] == "action/top-1"
  assert {"verb/top-1", "noun/top-5", "unseen/action/top-1", "action/mean class"} <= set(result["metrics"])
  video = sorted(hands.rglob("*.MP4"))[0]
  found, = predict.predict(str(workdir), [str(video)])
  assert found["error"] is None and found["verb"][0]["label"] in hand_set.VERBS
  assert cli.main(["eval", f"--workdir={workdir}", f"--submission={workdir / 'test.zip'}", "--supervision=2,3,4"]) == 0
  with zipfile.ZipFile(workdir / "test.zip") as f:
    sent = json.loads(f.read("test.json"))
  assert len(sent["results"]) == 6 and sent["sls_td"] == 4
  assert {k: len(v) for k, v in next(iter(sent["results"].values())).items()} == {"verb": 6, "noun": 6}
  verb, noun = found["action"][0]["label"].split()
  assert verb in hand_set.VERBS and noun in hand_set.NOUNS
  return result


def shows_candidates(workdir, hands):
  """Pictures of the boxes that the streams look at, in frames that reach beyond the clip, in a page and the report."""
  loaded = load.load_checkpoint(str(workdir))
  video = sorted(hands.rglob("*.MP4"))[0]
  found = predict.predict_loaded(loaded, [str(video)])
  one, = explain.Explainer(loaded, ["candidates"])(found)
  store = detections.open_store(detections.beside(str(video)))
  for shown in one.maps:
    assert shown.beneath.shape == (4, 32, 32, 3) and shown.values.shape == (4, 4, 5)
    live = shown.values[..., 4] > 0
    assert live.any() and abs(shown.values[..., 4].sum() - 1) < 1e-5
    assert (np.abs(shown.values[..., :4][live][:, None] - 32 * store.boxes.reshape(-1, 4)).max(-1).min(1) < 1e-3).all()
  assert [m.where for m in one.maps] == ["noun", "verb"]
  assert cli.main(["predict", f"--workdir={workdir}", "--show=candidates", str(video)]) == 0
  page = (workdir / "maps" / "index.html").read_text()
  assert "candidates at noun, candidates at verb" in page and "action: <b>" in page
  assert "What it sees" in pathlib.Path(report.write_report(str(workdir))).read_text()


def learns_from_what_is_kept(hands, runs):
  """The last stage on what both networks make of the clips: the same losses, and no clip is decoded again."""

  def stage(name, **data):
    c = tiny("saoa.py", hands)
    c.data.update(frames=12, sampler="stride", **data)  # all of a video: nothing is random about it
    c.optimizer.ema = 0.9
    loop.train(c, str(runs / name), runs=str(runs))
    return losses(runs / name)

  plain, kept = stage("plain"), stage("kept", cache="{runs}/cache")
  np.testing.assert_allclose(list(kept.values()), list(plain.values()), rtol=1e-5)
  assert len(list((runs / "cache").glob("*.npz"))) == 22 and list(kept) == list(plain)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(clips, "open_media", lambda *a, **k: pytest.fail("a video was opened"))
    assert stage("again", cache=str(runs / "cache")) == kept
  told = evaluate.evaluate_workdir(str(runs / "kept"))["metrics"]["loss"]  # of videos
  for name in ("plain", "kept", "again"):
    np.testing.assert_allclose(losses(runs / name, "val")[2], told, rtol=1e-5)
  c = tiny("saoa.py", hands)
  c.data.cache = str(runs / "cache")
  with pytest.raises(errors.UserError, match="data.cache=.*was made with other data.frames, data.sampler"):
    loop.train(c, str(runs / "other"), runs=str(runs))


def test_a_system_that_trains_its_networks_keeps_nothing_of_them(hands, tmp_path):
  c = tiny("ipl.py", hands)
  c.data.cache = str(tmp_path / "cache")
  with pytest.raises(errors.ConfigError, match="'ipl' has no frozen networks"):
    loop.train(c, str(tmp_path / "run"))


def test_a_recipe_of_three_stages_runs_by_its_one_config(hands, tmp_path, capsys):
  for stage in ("verb", "noun"):
    loop.train(tiny(f"saoa.py:{stage}", hands), str(tmp_path / f"toybox_saoa_{stage}"))
    assert f"{stage}/top-1" in evaluate.evaluate_workdir(str(tmp_path / f"toybox_saoa_{stage}"))["metrics"]
  assert cli.main(["eval", f"--workdir={tmp_path / 'toybox_saoa_verb'}", "--submission=x.json"]) == 2
  assert "--submission: the challenges that are known ask for verbs and nouns" in capsys.readouterr().err
  trained("saoa.py", hands, tmp_path / "toybox_saoa", capsys)
  told_in_words(tmp_path / "toybox_saoa", hands)
  learns_from_what_is_kept(hands, tmp_path)
  page = pathlib.Path(report.write_report(str(tmp_path / "toybox_saoa"))).read_text()
  assert "action/top-1" in page
  shows_candidates(tmp_path / "toybox_saoa", hands)


def test_ipl_trains_goes_on_and_tells_what_it_saw(hands, tmp_path, capsys):
  trained("ipl.py", hands, tmp_path / "ipl", capsys)
  told_in_words(tmp_path / "ipl", hands)
  loaded = load.load_checkpoint(str(tmp_path / "ipl"))
  video = sorted(hands.rglob("*.MP4"))[0]
  one, = explain.Explainer(loaded, ["attention"])([{"path": str(video)}])
  share, = one.maps
  assert share.where == "head" and share.values.min() >= 0 and share.values.max() <= 1 and share.values.ndim == 3


def test_a_video_without_detections_is_one_line_that_names_its_file(hands, tmp_path):
  alone = tmp_path / "alone.mp4"
  shutil.copy(sorted(hands.rglob("*.MP4"))[0], alone)
  c = tiny("saoa.py:sap", hands)
  c.train.init_from = ()
  loop.train(c, str(tmp_path / "sap"))
  found, = predict.predict(str(tmp_path / "sap"), [str(alone)])
  assert "alone.npz: there are no detections" in found["error"] and found["action"] == []


def test_data_without_detections_says_how_to_make_them(hands, tmp_path):
  bare = tmp_path / "bare"
  shutil.copytree(hands, bare)
  shutil.rmtree(bare / "detections")
  c = tiny("saoa.py:sap", bare)
  c.train.init_from = ()
  with pytest.raises(errors.DataError, match="vidx data detections"):
    loop.train(c, str(tmp_path / "run"))
