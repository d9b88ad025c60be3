"""Retrieval on Toybox `sentences`: from rendered videos and their captions to ranked lists."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from tests.conftest import line
from tests.system.conftest import ROOT, goes_on_exactly
from vidx import cli, errors
from vidx.data import toybox
from vidx.infer import centres, evaluate, load, predict, retrieve
from vidx.show import report
from vidx.train import config, loop

TEXT = "a red circle moves left and a blue star grows"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  root = tmp_path_factory.mktemp("sentences")
  toybox.build(str(root), labels="sentences", split=(16, 8, 0), size=(32, 32), frames=4, workers=1)
  return root


def tiny(world, word="shared"):
  c = config.load_file(str(ROOT / f"configs/toybox/t2vlad.py:{word}"))
  c.data.root = str(world)
  c.system.update(dim=16, centres=3, depth=1, heads=2, hidden=16)
  c.schedule.update(epochs=2.0)
  c.train.update(batch_size=8, log_every=1)
  c.eval.update(batch_size=3, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=2)
  return c


@pytest.fixture(scope="module")
def workdir(world, tmp_path_factory):
  at = tmp_path_factory.mktemp("run") / "t2vlad"
  loop.train(tiny(world), str(at))
  return at


def test_it_resumes_exactly(world, workdir, capsys):
  goes_on_exactly(tiny(world), workdir, capsys, at=2, steps=4)


def test_it_evaluates_and_reports(workdir):
  result = evaluate.evaluate_workdir(str(workdir))
  assert result["evaluated"] == 8 and result["headline"] == "t2v/gmean"
  assert {f"{way}/{m}" for way in ("t2v", "v2t") for m in ("R@1", "R@5", "R@10", "MdR", "MnR", "gmean")} <= set(
      result["metrics"])
  assert result["metrics"]["t2v/R@10"] == 100  # of eight videos
  sample = result["samples"][0]
  assert sample["query"] and 1 <= sample["rank"] <= 8 and len(sample["found"]) == 5
  other = evaluate.evaluate_workdir(str(workdir), overrides=["task.parts=local"])
  assert other["metrics"]["t2v/MnR"] != result["metrics"]["t2v/MnR"]
  with pytest.raises(errors.ConfigError, match="views 2x1 change nothing for system 't2vlad'"):
    evaluate.evaluate_workdir(str(workdir), clips=2)
  page = pathlib.Path(report.write_report(str(workdir))).read_text()
  assert "t2v/gmean" in page and sample["query"] in page


def test_it_ranks_a_folder_for_a_text_and_keeps_an_index(world, workdir, tmp_path, capsys):
  index, folder = str(tmp_path / "index.npz"), str(world / "videos")
  words = ["predict", f"--workdir={workdir}", f"--text={TEXT}", f"--index={index}", "--top=3", "--json", folder]
  assert cli.main(words) == 0
  first, = json.loads(capsys.readouterr().out)
  scores = [f["score"] for f in first["found"]]
  assert len(scores) == 3 and scores == sorted(scores, reverse=True) and first["unknown"] == 0
  assert all(f["path"].endswith(".mp4") for f in first["found"])
  written = pathlib.Path(index).stat().st_mtime_ns
  assert cli.main(words) == 0
  assert json.loads(capsys.readouterr().out) == [first] and pathlib.Path(index).stat().st_mtime_ns == written
  page = tmp_path / "page.html"
  long, = retrieve.rank(load.load_checkpoint(str(workdir)), ["circle " * 23], [folder], index=index)
  assert long["beyond"] == 1 and "the last 1 word)" in retrieve.to_table([long])
  words = ["predict", f"--workdir={workdir}", "--text=a purple circle", "--show=ranked", folder]
  assert cli.main([*words, f"--out={page}"]) == 0
  assert "1 of its words are unknown" in capsys.readouterr().out and "data:video/mp4" in page.read_text()
  assert cli.main([*words, f"--out={page}"]) == 0  # in its place
  assert cli.main([*words, f"--out={tmp_path}"]) == 2
  assert "is a folder" in capsys.readouterr().err
  assert cli.main(["predict", f"--workdir={workdir}", f"--text={TEXT}", "--show=centres", f"--out={page}", "--top=2",
                   f"--index={index}", folder]) == 0
  shown = page.read_text()
  assert shown.count("<table") == 3 and "<th>circle</th>" in shown and shown.count("<th>objects</th>") == 2


def copied(world, at):
  """The features of a world in a folder of their own, and the paths of its videos beside them."""
  shutil.copytree(world / "experts", at / "experts")
  (at / "videos").symlink_to(world / "videos")
  return sorted(str(at / "videos" / f.name) for f in (world / "videos").iterdir())[:4]


def test_an_index_is_made_anew_where_features_have_changed(world, workdir, tmp_path):
  loaded, index, files = load.load_checkpoint(str(workdir)), str(tmp_path / "index.npz"), copied(world, tmp_path)
  ranked = lambda **where: retrieve.rank(loaded, [TEXT], files, **where)[0]["found"]
  before = ranked(index=index)
  for path in (tmp_path / "experts").iterdir():
    with np.load(path) as f:
      values = {name: -f[name] for name in f}
    np.savez(path, **values)  # as many bytes as before
  assert ranked(index=index) == ranked() != before


def test_a_video_of_which_the_experts_have_nothing_is_not_ranked(world, workdir, tmp_path):
  files = copied(world, tmp_path)
  stem = pathlib.Path(files[0]).stem
  np.savez(tmp_path / "experts" / f"{stem}.npz", other=np.ones((2, 3)))
  found, = retrieve.rank(load.load_checkpoint(str(workdir)), [TEXT], files)
  assert len(found["found"]) == 3 and files[0] not in [f["path"] for f in found["found"]]
  assert "no features of the experts objects, motion, scene" in found["failures"][files[0]]


def test_words_and_experts_share_themselves_out_over_the_centres(world, workdir):
  loaded = load.load_checkpoint(str(workdir))
  files = sorted(map(str, (world / "experts").glob("*.npz")))
  found = centres.taken(loaded, TEXT, files)
  assert found["centres"] == 3 and found["background"]
  assert [word for word, _ in found["words"]] == ["[CLS]", *TEXT.split(), "[SEP]"]
  for path, of in zip(files, found["videos"], strict=True):
    with np.load(path) as f:
      assert set(of) == set(f)  # an expert that saw nothing takes no part
  rows = [shares for _, shares in found["words"]] + [s for of in found["videos"] for s in of.values()]
  assert {len(row) for row in rows} == {4}
  np.testing.assert_allclose(np.sum(rows, 1), 1, rtol=1e-5)
  assert centres.taken(loaded, TEXT, files[1:2])["videos"][0]["motion"] == pytest.approx(
      found["videos"][1]["motion"], abs=1e-5)


def test_scores_do_not_depend_on_how_the_features_lie(world, workdir, tmp_path):
  loaded = load.load_checkpoint(str(workdir))
  a, = retrieve.rank(loaded, [TEXT], [str(world / "experts")], top=4)
  apart = tmp_path / "experts"
  for path in (world / "experts").glob("*.npz"):
    with np.load(path) as f:
      for name in f:
        (apart / name).mkdir(parents=True, exist_ok=True)
        np.save(apart / name / f"{path.stem}.npy", f[name])
  (tmp_path / "videos").symlink_to(world / "videos")
  b, = retrieve.rank(loaded, [TEXT], [str(tmp_path / "videos")], top=4)
  assert [f["score"] for f in a["found"]] == pytest.approx([f["score"] for f in b["found"]], abs=1e-6)


def test_what_cannot_be_is_one_line(world, workdir, tmp_path, capsys):
  loaded = load.load_checkpoint(str(workdir))
  with pytest.raises(errors.DataError, match="the text is empty"):
    retrieve.rank(loaded, [" "], [str(world / "videos")])
  with pytest.raises(errors.ConfigError, match="add --text"):
    predict.predict(str(workdir), [str(world / "videos")])
  (tmp_path / "lonely.mp4").write_bytes(b"")
  for flags, words in ((["--show=input"], "add --text"), (["--text=a", "--windows=long"], "--windows changes nothing")):
    assert cli.main(["predict", f"--workdir={workdir}", *flags, str(tmp_path / "lonely.mp4")]) == 2
    assert words in line(capsys)
  with pytest.raises(errors.DataError, match="there are no features of experts, nor in a folder 'experts'"):
    retrieve.rank(loaded, [TEXT], [str(tmp_path / "lonely.mp4")])
  for key, value, message in (("optimizer.accumulate", "2", "cannot be cut into micro-batches"),
                              ("system.vocab", "20", "system.vocab is 20"),
                              ("data.text.vocab", "none.txt", "there is no vocabulary at"),
                              ("data.text.length", "2", "at least"),
                              ("data.experts", "(('objects', 16, 8),)", "takes 'expert/motion', but the config")):
    c = config.override(tiny(world), [f"{key}={value}"])
    with pytest.raises(errors.UserError, match=message):
      loop.train(c, str(tmp_path / key))
