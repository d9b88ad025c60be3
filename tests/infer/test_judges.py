"""Judges of images: named networks alone, and scores as their formulas say."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from vidx import errors, reading, tasks
from vidx.infer import judges, save
from vidx.interop import files
from vidx.metrics import generation
from vidx.nn import sites
from vidx.nn.resize import resize

pytestmark = pytest.mark.usefixtures("plain_convolutions")


def network(folder, name, digest="", side=32, pixels=(0.5,) * 3, **fields):
  """A folder as `vidx convert` writes it, with random weights, of a run that computes as on an accelerator."""
  model = vidx.create_model(name, **fields)
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), jnp.zeros((1, 1, side, side, 3)))
  folder.mkdir()
  save.save_model(str(folder), name, fields, variables, dict(crop=side, mean=pixels, std=pixels))
  config = json.loads((folder / "config.json").read_text())
  config["train"]["precision"] = "bfloat16"
  (folder / "config.json").write_text(json.dumps(config))
  if digest:
    (folder / "conversion.json").write_text(json.dumps({"sha256": digest}))
  return model, variables


def images(count=3, seed=0):
  rng = np.random.default_rng(seed)
  return {k: rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8) for k in ("image", "identity", "pose", "target")}


TINY = dict(trunk="resnet_18", stages=(1,), width=4, stem="small")


def test_scores_of_identity_and_pose_are_sigmoids_of_cosines_by_named_runs(tmp_path):
  model, variables = network(tmp_path / "who", "image_embedding", **TINY)
  judge = judges.Judges(f"identity={tmp_path}/who,pose={tmp_path}/who")
  seen = images()
  found = judge(seen)
  assert set(found) == {"identity score", "pose score"} and "image_embedding of" in judge.names["pose score"]
  of = lambda x: np.asarray(model.apply(variables, jnp.asarray(x, jnp.float32)[:, None] / 127.5 - 1)["features"])[:, 0]
  np.testing.assert_allclose(np.linalg.norm(of(seen["pose"]), axis=-1), 1, rtol=1e-5)
  for name, key in (("identity score", "identity"), ("pose score", "pose")):
    cosine = (of(seen["image"]) * of(seen[key])).sum(-1)
    assert found[name] == pytest.approx((1 / (1 + np.exp(-cosine))).mean(), abs=1e-6)
    assert 0.268 < found[name] < 0.732
  same = judge({**seen, "identity": seen["image"]})
  assert same["identity score"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-5)


def test_lpips_and_fid_are_those_of_the_formulas_with_the_weights_of_their_names_alone(tmp_path, monkeypatch):
  fields = dict(num_classes=0, widths=(4, 4, 6, 6, 4), hidden=())
  model, variables = network(tmp_path / "alex", "alexnet", "ab" * 32, 64, (0.2,) * 3, **fields)
  heads = {f"lin{i}.model.1.weight": np.random.default_rng(i).random((1, c, 1, 1)).astype("f")
           for i, c in enumerate((4, 4, 6, 6, 4))}
  files.write_state(tmp_path / "heads.safetensors", heads)
  net, weights = network(tmp_path / "net", "resnet_18", "cd" * 32, 32, (0.2,) * 3, num_classes=0, stages=(1,), width=4)
  text = f"lpips={tmp_path}/alex:{tmp_path}/heads.safetensors,fid={tmp_path}/net"
  for part, word in zip(text.split(","), ("alexnet-imagenet-lpips-0.1", "pt_inception-2015-12-05")):
    with pytest.raises(errors.ConfigError, match=f"weights '{word}' only, not with 'none'"):
      judges.Judges(part)
  monkeypatch.setattr(generation, "FILES", {
      "fid": (("cdcd",),), "lpips": (("abab",), (reading.sha256(tmp_path / "heads.safetensors")[:8],))})
  judge = judges.Judges(text)
  rng = np.random.default_rng(0)
  seen = {k: rng.integers(0, 256, (3, 64, 64, 3)).astype(np.uint8) for k in ("image", "target")}
  found = judge(seen)
  mean, std = np.asarray(generation.LPIPS_MEAN), np.asarray(generation.LPIPS_STD)
  at = lambda x: sites.taps(model, variables, jnp.asarray((x / 127.5 - 1 - mean) / std, jnp.float32)[:, None],
                            sites=generation.LPIPS_SITES)[1]
  x, y = at(seen["image"]), at(seen["target"])
  expected = generation.lpips([np.asarray(x[s])[:, 0] for s in generation.LPIPS_SITES],
                              [np.asarray(y[s])[:, 0] for s in generation.LPIPS_SITES],
                              [h.reshape(-1) for h in heads.values()], generation.WEIGHTS["lpips"])
  assert found["lpips"] == pytest.approx(expected.mean(), rel=1e-4)

  @jax.jit
  def features(x):
    return net.apply(weights, resize(x[:, None] / 127.5 - 1, (1, 299, 299)))["features"].reshape(len(x), -1)

  moments = [generation.moments(features(jnp.asarray(seen[k], jnp.float32))) for k in ("image", "target")]
  assert found["fid"] == pytest.approx(generation.frechet(*moments[0], *moments[1]), rel=1e-3) and found["fid"] > 0
  same = judge({k: seen["image"] for k in seen})
  assert same["lpips"] == 0 and same["fid"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("text, word", [
    ("fdi=x", "nearest: 'fid'"), ("fid", "fid=FOLDER"), ("lpips=here", "FOLDER:FILE"),
    ("lpips=a:nowhere", "FOLDER:FILE"), ("fid=nowhere", "pt_inception-2015-12-05' only")])
def test_judges_that_are_not_there_are_refused_in_one_line(text, word):
  with pytest.raises(errors.ConfigError, match=word) as e:
    judges.Judges(text)
  assert "\n" not in str(e.value)


def test_runs_that_make_no_images_and_judges_without_a_run_are_refused(tmp_path):
  with pytest.raises(errors.CheckpointError):
    judges.Judges(f"identity={tmp_path}/nowhere")
  judges.Judges("").check(tasks.get("generation"))
  with pytest.raises(errors.ConfigError, match="makes none"):
    judges.Judges("").check(tasks.get("classification"))


def test_a_triplet_costs_what_its_cosines_say():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(5, 3, 8)).astype("f")
  x /= np.linalg.norm(x, axis=-1, keepdims=True)
  task = tasks.get("affinity", margin=0.4)
  batch = {"weight": jnp.ones(5)}
  loss, terms = task.loss({"features": jnp.asarray(x)}, batch)
  expected = generation.margin_loss(x[:, 0], x[:, 2], x[:, 1], 0.4)
  np.testing.assert_allclose(loss, expected, atol=1e-6)
  assert set(terms) == {"margin"}
  seen = {k: np.asarray(v) for k, v in task.predict({"features": jnp.asarray(x)}, batch).items()}
  told = [(x[i, 0] @ x[i, 2]) > (x[i, 0] @ x[i, 1]) for i in range(5)]
  assert task.metrics(seen)["told"] == pytest.approx(100 * np.mean(told))
