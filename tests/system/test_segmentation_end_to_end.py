"""Long videos: a system of feature sequences trains, goes on exactly where it stopped, is evaluated, and predicts."""

import csv
import json
import pathlib

import jax
import numpy as np
import pytest

from tests.data import features
from tests.system.conftest import losses
from vidx import cli, errors, systems
from vidx.backbones.table import Row
from vidx.data import decode, transforms
from vidx.infer import evaluate, features as infer_features, load, predict, save
from vidx.nn import augment
from vidx.show import report
from vidx.train import build, loop, warm_start


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  root = tmp_path_factory.mktemp("long") / "videos"
  return root, features.write(root)


@pytest.fixture(autouse=True)
def framewise(monkeypatch):
  monkeypatch.setitem(systems.SYSTEMS, "framewise", Row("tests.data.features:Framewise", {}, "none", ((1, 64, 6),)))


def train(config, workdir, steps=0):
  config.train.max_steps = steps
  return loop.train(config, str(workdir))


def test_a_run_learns_resumes_exactly_and_is_evaluated(data, tmp_path):
  root, labels = data
  c = features.settings(root)
  done = train(c, tmp_path / "whole")
  train(c, tmp_path / "parts", 5)
  train(c, tmp_path / "parts")
  assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == 14
  rows = [json.loads(r) for r in (tmp_path / "whole/metrics.jsonl").read_text().splitlines()]
  assert rows[1]["videos_per_s"] > 0 and "clips_per_s" not in rows[0] and rows[0]["live"] >= 20
  assert done["metrics"]["mof"] > 70 and done["metrics"]["none/mof"] < done["metrics"]["mof"]
  found = evaluate.of_workdir(str(tmp_path / "whole"), batch_size=3)  # of one length all three
  assert found.result.metrics == pytest.approx(done["metrics"])
  for i, y in zip((7, 8, 9), found.result.predictions["frames/truth"]):
    np.testing.assert_array_equal(y, labels[f"v{i}"])
  described = evaluate.evaluate_workdir(str(tmp_path / "whole"))
  assert json.loads((tmp_path / "whole/eval/val-whole.json").read_text()) == json.loads(json.dumps(described))
  assert described["protocol"]["views"] == "whole" and described["metrics"]["mof"] == done["metrics"]["mof"]
  truth, = (s["truth"] for s in described["samples"] if s["id"] == "v8")
  assert sum(n for _, n in truth) == len(labels["v8"]) and truth[0][0] == features.CLASSES[labels["v8"][0]]


def test_several_seeds_at_once_are_the_runs_one_by_one(data, tmp_path, capsys):
  root, _ = data
  c = features.settings(root)
  c.schedule.epochs = 1.0
  c.train.seeds = 2
  done = train(c, tmp_path / "both")
  train(c, tmp_path / "parts", 2)
  train(c, tmp_path / "parts")
  assert losses(tmp_path / "parts") == losses(tmp_path / "both")
  both = load.load_checkpoint(str(tmp_path / "both"))
  c.train.seeds, single = 1, []
  for seed in (0, 1):
    c.seed = seed
    stream = c.data.copy_and_resolve_references()
    single.append(one_of(c, root, seed, stream))
  for i, params in enumerate(single):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
                 jax.tree.map(lambda x: x[i], both.members["params"]), params)
  jax.tree.map(np.testing.assert_array_equal, both.variables["params"],
               jax.tree.map(lambda x: x[0], both.members["params"]))
  jax.tree.map(np.testing.assert_array_equal, warm_start.read_variables(str(tmp_path / "both")), both.variables)
  described = evaluate.evaluate_workdir(str(tmp_path / "both"))
  values = [m["mof"] for m in described["seeds"]]
  assert described["metrics"]["mof"] == pytest.approx(np.mean(values)) and len(values) == 2
  assert described["deviations"]["mof"] == pytest.approx(np.std(values)) == done["metrics"]["mof/std"]
  assert f"mof: {np.mean(values):.1f} +- {np.std(values):.1f}" in capsys.readouterr().out


def one_of(config, root, seed, stream):
  """Parameters after an epoch of one seed on the batches of seed 0."""
  from vidx.data import pipeline
  from vidx.train import sharding
  dataset = build.load_split(config, "train")
  config.data.feature_size = features.SIZE
  run = build.build(config, dataset)
  state, step = run.init(), run.step()
  with pipeline.train_batches(dataset, config.data, batch_size=2, seed=0) as batches:
    for _ in range(run.total_steps):
      state, _ = step(state, sharding.put_batch(next(batches), run.mesh))
  return state.params


def test_a_system_and_a_data_set_of_another_kind_are_an_error(data):
  root, _ = data
  c = features.settings(root)
  c.system = dict(name="tsm")
  with pytest.raises(errors.ConfigError, match="takes clips, but the records of data set 'segments' are features"):
    build.build(c, build.load_split(c, "train"))
  c.system = dict(name="framewise")
  c.train.mixup = 0.2
  with pytest.raises(errors.ConfigError, match="mix clips"):
    build.build(c, build.load_split(c, "train"))


def test_segments_of_new_features_and_videos_are_predicted_and_shown(data, toy, tmp_path, monkeypatch, capsys):
  root, labels = data
  c = features.settings(root)
  c.schedule.epochs = 2.0
  train(c, tmp_path / "run")
  new = tmp_path / "new"
  new.mkdir()
  np.save(new / "a.npy", np.load(root / "features/v8.npy").T)  # features x frames, as some releases have it
  np.save(new / "b.npy", np.ones((9, 5)))
  (new / "c.npy").write_text("nothing")
  assert cli.main(["predict", f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'found.json'}", str(new)]) == 1
  a, b, broken = json.loads((tmp_path / "found.json").read_text())
  assert "of shape (9, 5), but the run was trained on 6" in b["error"] and "cannot be read" in broken["error"]
  result = evaluate.of_workdir(str(tmp_path / "run")).result
  wanted = result.predictions["frames/predicted"][1]
  spelled = [features.CLASSES.index(s["label"]) for s in a["segments"] for _ in range(s["start"], s["end"])]
  np.testing.assert_array_equal(spelled, wanted)
  table = list(csv.DictReader((tmp_path / "found.csv").open()))
  assert [(r["label"], int(r["end"])) for r in table] == [(s["label"], s["end"]) for s in a["segments"]]
  assert all(0 < float(r["confidence"]) <= 1 for r in table) and "a.npy" in capsys.readouterr().out

  video = next(pathlib.Path(toy).rglob("*.mp4"))
  with pytest.raises(errors.ConfigError, match="--trunk"):
    predict.predict(str(tmp_path / "run"), [str(video)])
  folder = trunk_of(tmp_path)
  found, = predict.predict(str(tmp_path / "run"), [str(video)], trunk=folder, window=5, stride=2)
  assert found["frames"] == 6 and found["segments"][-1]["end"] == 12 and found["segments"][-1]["end_seconds"] > 0

  summary = infer_features.extract(folder, str(toy), str(tmp_path / "long"), window=5)
  count = len(list(pathlib.Path(toy).rglob("*.mp4")))
  assert summary == {"videos": count, "written": count, "kept": 0, "size": features.SIZE, "bad": {}}
  files = sorted((tmp_path / "long/features").glob("*.npy"))
  x = np.load(files[0])
  assert x.shape == (12, features.SIZE) and x.dtype == np.float32
  files[0].unlink()
  (pathlib.Path(toy) / "broken.mp4").write_bytes(b"no video")
  try:
    again = infer_features.extract(folder, str(toy), str(tmp_path / "long"), window=5)
  finally:
    (pathlib.Path(toy) / "broken.mp4").unlink()
  assert (again["written"], again["kept"], len(again["bad"])) == (1, count - 1, 1)
  np.testing.assert_array_equal(np.load(files[0]), x)
  with pytest.raises(errors.DataError, match=r"was made with another window \(5, now 3\);"):
    infer_features.extract(folder, str(toy), str(tmp_path / "long"), window=3)
  check_window(folder, toy, x, files[0])

  evaluate.evaluate_workdir(str(tmp_path / "run"))
  html = pathlib.Path(report.write_report(str(tmp_path / "run"))).read_text()
  assert html.count("confidence</text>") == 3 and "Timelines" in html and "whole videos" in html and "release" in html


def trunk_of(tmp_path):
  """A workdir of an untrained trunk of six features."""
  fields = dict(trunk="resnet_18", stages=(1,), widths=(features.SIZE,), stem="small", num_classes=2)
  model = systems.create_model("tsn", **fields)
  variables = model.init(jax.random.PRNGKey(0), np.zeros((1, 2, 16, 16, 3), np.float32), train=False)
  (tmp_path / "trunk").mkdir()
  save.save_model(str(tmp_path / "trunk"), "tsn", fields, variables, dict(short_side=20, crop=16), ("a", "b"))
  return str(tmp_path / "trunk")


def check_window(folder, toy, x, file):
  """The features of frame 1 are those of a clip of the frames 0, 0, 1, 2, 3."""
  trunk = load.load_checkpoint(folder)
  name = file.stem
  video, = (v for v in pathlib.Path(toy).rglob("*.mp4") if "-".join(v.relative_to(toy).with_suffix("").parts) == name)
  with decode.open_video(str(video)) as opened:
    frames = opened.frames(np.array([0, 0, 1, 2, 3]), short_side=20)
  clip, _ = transforms.eval_transform(trunk.config.data)(frames)
  clip = augment.normalize(clip, trunk.config.data.mean, trunk.config.data.std, trunk.dtype)
  wanted = trunk.model.apply(trunk.variables, clip, train=False)["features"]
  np.testing.assert_allclose(x[1], np.asarray(wanted)[0], rtol=1e-4, atol=1e-5)


def test_a_published_system_trains_and_is_evaluated(tmp_path):
  features.write(tmp_path / "data", train=2, val=1, least=33, most=60)
  c = features.settings(tmp_path / "data", full_share=0.5)
  c.system = dict(name="ms_tcn", stages=1, layers=2, width=8)
  c.schedule.update(peak=0.01, epochs=2.0)
  done = train(c, tmp_path / "run")
  assert all(np.isfinite(list(losses(tmp_path / "run").values()))) and 0 <= done["metrics"]["mof"] <= 100
