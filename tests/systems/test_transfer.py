import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vidx
from tests.backbones import promises
from vidx import errors, tasks
from vidx.systems.transfer import partners

TEACHER = dict(stages=(1, 1), width=8, stem="small")
STUDENT = dict(trunk="resnet3d_18", stages=(1, 1), width=8, reduction=2)
TINY = dict(teacher="resnet_18", teacher_fields=TEACHER, student_fields=STUDENT, frames=4, width=16, hidden=(12, 8))
X, INDEX = promises.some_input((3, 4, 16, 16, 3)), jnp.asarray([4, 0, 7])
TASK, BATCH = tasks.get("matching"), {"weight": jnp.ones(3)}


@pytest.fixture(scope="module")
def variables():
  return promises.some_variables(vidx.create_model("transfer", **TINY), X, INDEX)


def run(variables, x=X, index=INDEX, **fields):
  return promises.jitted(vidx.create_model("transfer", **TINY, **fields))(variables, x, index)


@pytest.mark.parametrize("index, partner, paired", [
    ([4, 0, 7], [2, 0, 1], [1, 1, 1]),
    ([4, 4, 7, 7], [3, 3, 1, 1], [1] * 4),  # views of two videos
    ([4, 0, -1, -1], [1, 0, 1, 1], [1] * 4),
    ([4, -1], [None, 0], [0, 1]),
    ([4], [None], [0]),
])
def test_partners_are_the_nearest_before_that_are_of_another_video(index, partner, paired):
  where, there = jax.jit(partners)(jnp.asarray(index))
  assert there.tolist() == [bool(p) for p in paired]
  assert [int(w) if p else None for w, p in zip(where, paired)] == partner


def test_logits_equal_the_layers_one_pair_at_a_time(variables):
  out = run(variables)
  p = jax.device_get(variables["params"])
  model = vidx.create_model("transfer", **TINY)
  part = lambda name: {k: v[name] for k, v in variables.items()}
  teacher = jax.jit(lambda v, x: model.teacher.apply(v, x)["features"])
  student = promises.jitted(model.student)(part("student"), X)["features"]
  relu = lambda x, layer: np.maximum(x @ p[layer]["kernel"] + p[layer]["bias"], 0)
  for i, j in ((0, 2), (1, 0), (2, 1)):
    for frames, logits in ((i, out["match"][i]), (j, out["mismatch"][i])):
      own = np.mean([np.asarray(teacher(part("teacher"), X[frames, None, t:t + 1]))[0] for t in range(4)], 0)
      x = np.concatenate([relu(own, "teacher_fc"), relu(np.asarray(student[i]), "student_fc")])
      x = relu(relu(x, "fc1"), "fc2") @ p["matches"]["kernel"] + p["matches"]["bias"]
      np.testing.assert_allclose(logits, x, rtol=1e-4, atol=1e-5)


def test_the_published_network_has_its_layers():
  model = vidx.create_model("transfer")
  x, index = jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), x, index)["params"]
  kernel = lambda name: shapes[name]["kernel"].shape
  assert [kernel(n) for n in ("teacher_fc", "student_fc", "fc1", "fc2", "matches")] == [
      (2048, 1024), (2048, 1024), (2048, 512), (512, 128), (128, 2)]
  size = lambda tree: sum(v.size for v in jax.tree.leaves(tree))
  assert size(shapes["student"]) == 97_341_008 - 2049 * 400  # without the classifier
  assert size(shapes["teacher"]) == 25_557_032 - 2049 * 1000


def test_one_more_layer_stands_in_front_where_asked():
  model = vidx.create_model("transfer", **TINY, fc0=20)
  shapes = promises.shapes_of(model, X, INDEX)["params"]
  assert shapes["fc0"]["kernel"].shape == (32, 20) and shapes["fc1"]["kernel"].shape == (20, 12)


def gradients(variables, **fields):
  model = vidx.create_model("transfer", **TINY, **fields)
  stats = {k: v for k, v in variables.items() if k != "params"}

  @jax.jit
  def both(params):
    def loss(params):
      out, new = model.apply({"params": params, **stats}, X, INDEX, train=True, mutable=[*stats])
      return TASK.loss(out, BATCH)[0].sum(), new
    return jax.grad(loss, has_aux=True)(params)

  return both(variables["params"])


def test_the_teacher_learns_nothing_and_keeps_its_statistics(variables):
  grads, new = gradients(variables)
  assert not any(np.any(g) for g in jax.tree.leaves(grads["teacher"]))
  for name in ("student", "teacher_fc", "student_fc", "fc1", "fc2", "matches"):
    assert any(np.any(g) for g in jax.tree.leaves(grads[name])), name
  jax.tree.map(np.testing.assert_array_equal, new["batch_stats"]["teacher"], variables["batch_stats"]["teacher"])
  moved = jax.tree.map(lambda a, b: np.any(a != b), new["batch_stats"]["student"], variables["batch_stats"]["student"])
  assert all(jax.tree.leaves(moved))


def test_a_frozen_projection_of_the_teacher_has_no_gradient(variables):
  grads, _ = gradients(variables, freeze_teacher_proj=True)
  assert not any(np.any(g) for g in jax.tree.leaves(grads["teacher_fc"])) and np.any(grads["student_fc"]["kernel"])


def test_the_teacher_does_not_know_the_order_of_frames(variables):
  model = vidx.create_model("transfer", **TINY)
  one = {k: v["teacher"] for k, v in variables.items()}
  frames = jax.jit(lambda x: model.teacher.apply(one, x)["features"])
  np.testing.assert_allclose(frames(X[:, ::-1]), frames(X), rtol=1e-5, atol=1e-6)


def test_independent_crops_are_drawn_in_training_and_central_in_evaluation(variables):
  fields = dict(independent_crop=12)
  alike = run(variables, X[:, :, 2:14, 2:14])
  np.testing.assert_array_equal(run(variables, **fields)["match"], alike["match"])
  model = vidx.create_model("transfer", **TINY, **fields)
  drawn = jax.jit(lambda seed: model.apply(variables, X, INDEX, train=True, mutable=["batch_stats"],
                                           rngs={"dropout": jax.random.PRNGKey(seed)})[0]["match"])
  assert np.any(drawn(0) != drawn(1))
  np.testing.assert_array_equal(drawn(0), drawn(0))
  with pytest.raises(errors.ConfigError, match="independent_crop = 20 does not fit into clips of 16 x 16"):
    jax.eval_shape(vidx.create_model("transfer", **TINY, independent_crop=20).init, jax.random.PRNGKey(0), X, INDEX)


def test_a_net_lowers_and_lists_the_sites_of_both():
  model = vidx.create_model("transfer", **TINY)
  assert model.site_names()[0] == "teacher.stem" and "res2.0.residual" in model.site_names()
  from jax import export
  forward = jax.jit(lambda v, x, i: model.apply(v, x, i))
  shapes = promises.shapes_of(model, X, INDEX)
  assert export.export(forward, platforms=["tpu", "cuda"])(shapes, X, INDEX).mlir_module_serialized


def test_the_loss_is_the_mean_cross_entropy_of_both_pairs_and_of_one_where_there_is_no_other():
  rng = np.random.default_rng(0)
  out = {"match": jnp.asarray(rng.normal(size=(2, 2))), "mismatch": jnp.asarray(rng.normal(size=(2, 2))),
         "paired": jnp.asarray([1.0, 0.0])}
  per_example, terms = TASK.loss(out, {"weight": jnp.ones(2)})
  p = TASK.predict(out, BATCH)
  want = [(-np.log(p["match"][0]) - np.log(1 - p["mismatch"][0])) / 2, -np.log(p["match"][1])]
  np.testing.assert_allclose(per_example, want, rtol=1e-5)
  assert set(terms) == {"match", "mismatch"}
  np.testing.assert_allclose(per_example[0], optax.sigmoid_binary_cross_entropy(
      jnp.asarray([out["match"][0, 1] - out["match"][0, 0], out["mismatch"][0, 1] - out["mismatch"][0, 0]]),
      jnp.asarray([1, 0])).mean(), rtol=1e-5)


def test_match_accuracy_counts_pairs_that_match_and_pairs_that_do_not():
  found = TASK.metrics({"match": np.array([.9, .2, .7]), "mismatch": np.array([.1, .8, .9]),
                        "paired": np.array([1, 1, 0])})
  assert found["match accuracy"] == pytest.approx(60) and found["mismatches"] == pytest.approx(50)
  assert found["matches"] == pytest.approx(200 / 3)
  one = TASK.metrics({"match": np.array([.9]), "mismatch": np.array([.1]), "paired": np.array([0])})
  assert one["match accuracy"] == 100 and np.isnan(one["mismatches"])
