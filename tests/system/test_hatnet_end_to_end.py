"""Tags of six kinds: a tiny HATNet with a head for each trains, goes on, is evaluated, names tags, and is clustered."""

import dataclasses
import pathlib

import numpy as np
import pytest

from tests.system.conftest import goes_on_exactly
from vidx import errors
from vidx.data import toybox
from vidx.infer import cluster, evaluate, load, predict
from vidx.show import report
from vidx.train import build, config, loop

TINY = dict(name="hatnet_18", stages=(1, 1), width=4, strides=(1, 2), time_strides=(1, 2))


@pytest.fixture(scope="module")
def tags(tmp_path_factory):
  root = tmp_path_factory.mktemp("tags")
  toybox.build(str(root), labels="noisy_tags", split=(16, 6, 0), size=(24, 24), frames=6, workers=1)
  return root


def recipe(tags, **task):
  c = config.base()
  c.system = dict(TINY)
  c.task = dict(name="multilabel", **task)
  c.data.update(root=str(tags), dataset=dict(name="hvu"), frames=4, short_side=20, crop=16, crop_mode="random",
                flip=False, workers=0)
  c.schedule.update(peak=0.01, epochs=2.0)
  c.train.update(batch_size=8)
  c.eval.update(batch_size=6, every_epochs=0.0)
  c.checkpoint.update(every_epochs=0.0, every_steps=2)
  return c


@pytest.fixture(scope="module")
def run(tags, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "whole"
  loop.train(recipe(tags, heads=True, by_category=True), str(workdir))
  return workdir


def test_it_goes_on_exactly_where_it_stopped(run, tags, capsys):
  goes_on_exactly(recipe(tags, heads=True, by_category=True), run, capsys, at=2, steps=4)


def test_its_heads_and_their_first_biases_are_those_of_the_data(run, tags):
  loaded = load.load_checkpoint(str(run))
  sizes = {kind: len(names) for kind, names in toybox.labels.TAGS.items()}
  assert dict(loaded.model.num_classes) == sizes
  built = build.build(recipe(tags, heads=True, by_category=True), build.load_split(loaded.config, "train"))
  bias = built.init().params["head"]["scene"]["out"]["fc"]["bias"]
  found = 1 / (1 + np.exp(-np.asarray(bias)))
  assert found.sum() == pytest.approx((16 + 6 * 0.5) / 17, rel=1e-5)  # each video has one scene


def test_it_is_evaluated_by_category_and_reported_with_tags(run):
  result = evaluate.evaluate_workdir(str(run))
  kinds = list(toybox.labels.TAGS)
  values = [result["metrics"][f"mAP/{kind}"] for kind in kinds]
  known = [v for v in values if v is not None]
  assert result["evaluated"] == 6 and result["metrics"]["mAP"] == pytest.approx(np.mean(known))
  assert len(result["per_class"]) == sum(map(len, toybox.labels.TAGS.values()))
  assert set(result["samples"][0]["tags"]) == set(kinds)
  page = pathlib.Path(report.write_report(str(run))).read_text()
  assert "<h2>Categories</h2>" in page and 'class="tag right"' in page


def test_it_names_tags_from_a_threshold_on(run, tags):
  video = str(next(pathlib.Path(tags).rglob("*.mp4")))
  loaded = load.load_checkpoint(str(run))
  few, = predict.predict_loaded(dataclasses.replace(loaded, task=loaded.task.with_threshold(0.99)), [video])
  many, = predict.predict_loaded(dataclasses.replace(loaded, task=loaded.task.with_threshold(1e-6)), [video], top=2)
  assert not any(few["tags"].values()) and len(many["predictions"]) == 2
  assert {k: {t["label"] for t in v} for k, v in many["tags"].items()} == {
      k: set(v) for k, v in toybox.labels.TAGS.items()}


def test_a_stage_with_more_categories_starts_from_the_heads_of_the_one_before(tags, tmp_path):
  def stage(name, kinds, start):
    c = recipe(tags, heads=True, by_category=True)
    c.data.dataset = dict(name="hvu", categories=kinds)
    c.train.update(init_from=start, max_steps=1)
    loop.train(c, str(tmp_path / name))
    return load.load_checkpoint(str(tmp_path / name)).variables["params"]

  stage("action", ("action",), ())
  both = stage("object", ("action", "object"), (str(tmp_path / "action"),))
  assert set(both["head"]) == {"action", "object"}
  text = (tmp_path / "object" / "init.json").read_text()
  assert "params/head/action/out/fc/kernel" in text.split('"not in the checkpoint"')[0]


def test_its_features_make_clusters_of_the_classes_of_another_data_set(run, toy, tmp_path, capsys):
  elsewhere = [f"data.root={toy}", "data.dataset.name=folder"]
  result = cluster.cluster_workdir(str(run), overrides=elsewhere)
  assert 0 < result["metrics"]["clustering accuracy"] <= 100 and result["evaluated"] == 11
  assert "clusters.json" in capsys.readouterr().out
  names = tmp_path / "some.txt"
  names.write_text("no such class\n")
  with pytest.raises(errors.ConfigError, match="'no such class' is not one of"):
    cluster.cluster_workdir(str(run), chosen=str(names), overrides=elsewhere)
  with pytest.raises(errors.ConfigError, match="one class per video; 'hvu' has several"):
    cluster.cluster_workdir(str(run))
