import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from tests.data.test_candidates import CROP, M, N, SIDE, SMALL, config, folder, split  # noqa: F401
from vidx import tasks
from vidx.data.decode import open_video
from vidx.infer import chosen_frames, load, predict
from vidx.train import evaluator

FIELDS = dict(num_classes=3, trunk="resnet_18", stages=(1,), width=8, stem="small", keep=M,
              sampler_fields=dict(stages=(1,), widths=(8, 8, 16)), context="none", select="topk")


def made(**fields):
  model = vidx.create_model("psn", **{**FIELDS, **fields})
  return model, promises.some_variables(model, jnp.zeros((1, N, CROP, CROP, 3)))


def test_two_steps_predict_what_one_would(folder):
  model, variables = made()
  task, dataset = tasks.get("classification"), split(folder / "a.mp4", folder / "broken.mp4", folder / "b.mp4")
  found = chosen_frames.predict(model, variables, task, dataset, config(), batch_size=2)
  c = config()
  whole = evaluator.Evaluator(model, task, mesh=load.make_mesh(c), config=c, dtype=jnp.float32)(
      variables, dataset, batch_size=3)
  np.testing.assert_allclose(found.predictions["scores"], whole.predictions["scores"], atol=1e-5)
  assert found.predictions["index"].tolist() == [0, 2] and list(found.failures) == [str(folder / "broken.mp4")]


def test_the_sampler_sees_small_frames_and_the_classifier_full_ones(folder):
  model, variables = made(sampler_size=SMALL)
  loaded = load.Loaded(model, variables, config(), ("x", "y", "z"), tasks.get("classification"), 1, jnp.float32)
  broken, entry = predict.predict_loaded(loaded, [folder / "broken.mp4", folder / "b.mp4"], top=3)
  assert broken["error"] and "frames" not in broken
  frames = [f["frame"] for f in entry["frames"]]
  weights = jnp.asarray([[f["weight"] for f in entry["frames"]]])
  with open_video(str(folder / "b.mp4")) as video:
    full = video.frames(frames, short_side=SIDE)[:, 8:40, 16:48]
  _, classify = chosen_frames.programs(model, config(), jnp.float32)
  scores = jax.nn.softmax(classify(variables, full[None, :, None], weights)["logits"])[0]
  assert [p["score"] for p in entry["predictions"]] == pytest.approx(sorted(map(float, scores), reverse=True), abs=1e-5)
  assert len(set(frames)) == M and (np.diff(weights[0]) <= 0).all()


def test_it_is_for_one_view_of_systems_that_choose_by_scores():
  model = vidx.create_model("psn", **FIELDS)
  assert chosen_frames.applies(model, 1, 1) and not chosen_frames.applies(model, 2, 1)
  for fields in (dict(select="uniform"), dict(dedup=True)):
    assert not chosen_frames.applies(vidx.create_model("psn", **{**FIELDS, **fields}), 1, 1)
  assert not chosen_frames.applies(vidx.create_model("tsn"), 1, 1)
