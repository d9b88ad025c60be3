"""The training step, on a model of a few parameters."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vidx import errors, tasks
from vidx.nn import sites
from vidx.tasks import base
from vidx.tasks.classification import Classification
from vidx.train import config, state as state_lib, step as step_lib, writers

CLASSES = 3
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Tiny(nn.Module):
  """Mean colour -> dense -> batch norm -> dense."""

  norm: bool = True
  dropout: float = 0.0
  inputs = ("video",)

  @nn.compact
  def __call__(self, video, train=False):
    x = nn.Dense(4, name="stem")(video.mean(axis=(1, 2, 3)))
    if self.norm:
      x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    x = nn.Dropout(self.dropout, deterministic=not train)(nn.tanh(x))
    return {"logits": nn.Dense(CLASSES, name="head")(x), "features": x}


def batch(size=8, seed=0):
  rng = np.random.default_rng(seed)
  return {"video": jnp.asarray(rng.integers(0, 256, (size, 2, 4, 4, 3), dtype=np.uint8)),
          "label": jnp.asarray(rng.integers(0, CLASSES, size, dtype=np.int32)),
          "weight": jnp.ones(size, jnp.float32)}


def make(model=Tiny(), task=Classification(), **changes):
  c = config.base()
  for key, value in changes.items():
    config.override(c, [f"{key.replace('__', '.')}={value}"])
  from vidx.train import optim
  schedule = optax.constant_schedule(0.1)
  inputs = [jnp.zeros((1, 2, 4, 4, 3))]
  params = state_lib.begin(model, inputs, 0).params
  tx = optim.make_optimizer(c.optimizer, schedule, params)
  state = state_lib.complete(state_lib.begin(model, inputs, 0), tx, bool(c.optimizer.ema))
  step = jax.jit(step_lib.make_train_step(model, task, tx, schedule, c, CLASSES, jnp.float32))
  return state, step


def test_the_loss_falls_and_everything_moves():
  state, step = make()
  first, losses = state, []
  for _ in range(60):
    state, metrics = step(state, batch())
    losses.append(float(metrics["loss"]))
  assert losses[-1] < 0.5 * losses[0] and int(state.step) == 60
  assert np.any(np.asarray(state.stats["batch_stats"]["BatchNorm_0"]["mean"]) != 0)
  assert np.any(state.params["head"]["kernel"] != first.params["head"]["kernel"])


def test_examples_of_weight_zero_do_not_count():
  state, step = make(Tiny(norm=False))
  whole = batch(8)
  half = {**whole, "weight": whole["weight"].at[4:].set(0.0)}
  first = jax.tree.map(lambda x: x[:4], whole)
  a, b = step(state, half), step(state, first)
  np.testing.assert_allclose(a[1]["loss"], b[1]["loss"], rtol=1e-6)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), a[0].params, b[0].params)


UNKNOWN = [  # task, fields, labels of eight clips, of which every other is made unknown
    ("classification", {}, np.arange(8, dtype=np.int32) % CLASSES),
    ("classification", dict(label_smoothing=0.1), np.arange(8, dtype=np.int32) % CLASSES),
    ("multilabel", {}, np.eye(CLASSES, dtype=np.float32)[np.arange(8) % CLASSES]),
    ("multilabel", dict(activation="softmax"), np.eye(CLASSES, dtype=np.float32)[np.arange(8) % CLASSES]),
]


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("name, fields, label", UNKNOWN)
def test_unlabelled_clips_do_not_count(name, fields, label, accumulate):
  every_other = np.arange(8) % 2 == 0
  known = every_other if label.ndim == 1 else every_other[:, None]
  whole = {**batch(8), "label": jnp.asarray(np.where(known, label, -1), label.dtype)}
  labelled = {k: v[every_other] for k, v in whole.items()}
  state, step = make(Tiny(norm=False), tasks.get(name, **fields), optimizer__accumulate=accumulate)
  a, b = step(state, whole), step(state, labelled)
  for figure in ("loss", "grad_norm"):
    np.testing.assert_allclose(a[1][figure], b[1][figure], rtol=1e-5)
  assert float(a[1]["labelled"]) == 4
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), a[0].params, b[0].params)


SCRIPT = """
import numpy as np, jax
from ml_collections import ConfigDict
from tests.train import test_step as t
from vidx.train import sharding
mesh = sharding.make_mesh(ConfigDict(dict(data=4, fsdp=2, tensor=1)), 8)
given = {**t.batch(8), "label": np.array([0, 1, -1, -1, -1, -1, 2, -1], np.int32)}
given = {k: np.asarray(v) for k, v in given.items()}
state, step = t.make(t.Tiny(norm=False))
one, other = (jax.device_get(step(state, b)) for b in (given, sharding.put_batch(given, mesh)))
labelled = {k: v[[0, 1, 6]] for k, v in given.items()}
for found in (one[1], other[1]):
  np.testing.assert_allclose(found["loss"], step(state, labelled)[1]["loss"], rtol=1e-5)
jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), one[0].params, other[0].params)
print("equal")
"""


def test_shards_without_a_labelled_clip_count_for_nothing():
  env = dict(os.environ, JAX_PLATFORMS="cpu", XLA_FLAGS="--xla_force_host_platform_device_count=8",
             PYTHONPATH=str(ROOT))
  done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, cwd=ROOT, timeout=120)
  assert done.stdout.strip() == "equal", done.stderr[-3000:]


def test_two_classes_of_equal_chance_begin_at_the_logarithm_of_two_whatever_is_unlabelled():
  class Even(nn.Module):
    inputs = ("video",)

    @nn.compact
    def __call__(self, video, train=False):
      dense = nn.Dense(2, kernel_init=nn.initializers.zeros)
      return {"logits": dense(video.mean(axis=(1, 2, 3)))}

  state, step = make(Even())
  _, metrics = step(state, {**batch(4), "label": jnp.array([0, -1, 1, -1])})
  np.testing.assert_allclose(metrics["loss"], np.log(2), rtol=1e-6)


def test_a_batch_without_labels_has_no_loss_and_trains_nothing():
  state, step = make(Tiny(norm=False), optimizer__weight_decay=0.0)
  new, metrics = step(state, {**batch(), "label": jnp.full(8, -1)})
  jax.tree.map(np.testing.assert_array_equal, new.params, state.params)
  figures = step_lib.summary(jax.device_get(metrics))
  assert not {"loss", "cross_entropy", "labelled"} & set(figures) and figures["grad_norm"] == 0
  assert writers._line(figures).startswith("loss not defined")


def test_what_is_not_defined_is_left_out_of_the_board(tmp_path, caplog):
  log = writers.Writers(str(tmp_path), True)
  log.write(1, "val", {"mof": float("nan"), "loss": 2.0})
  log.close()
  assert not caplog.records


@pytest.mark.parametrize("name", ["classification", "multilabel"])
def test_mixed_clips_count_by_the_share_that_is_labelled(name):
  task, label = tasks.get(name), np.eye(CLASSES, dtype=np.float32)
  c = config.base()
  c.train.mixup = 1.0
  known = jnp.asarray(np.array([[1.0], [0.0], [1.0]]))
  given = {"video": batch(3)["video"], "label": jnp.where(known > 0, label, -1) if name == "multilabel" else
           jnp.array([0, -1, 2]), "weight": jnp.ones(3)}
  mixed = step_lib.prepare({**given, "labelled": task.labelled(given)}, c, task, CLASSES, jnp.float32,
                           jax.random.PRNGKey(3))
  np.testing.assert_allclose(mixed["labelled"].sum(), 2, rtol=1e-6)
  np.testing.assert_allclose(mixed["label"].sum(-1), mixed["labelled"], rtol=1e-6)
  logits, share = np.random.default_rng(0).normal(size=(3, CLASSES)).astype("f"), np.asarray(mixed["labelled"])
  found = task.loss({"logits": logits}, mixed)[0]
  positive, y = jax.nn.log_sigmoid(logits), np.asarray(mixed["label"])
  wanted = (-(y * jax.nn.log_softmax(logits)).sum(-1) if name == "classification" else
            -(y * positive + (share[:, None] - y) * (positive - logits)).mean(-1))
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_accumulated_gradients_equal_those_of_the_whole_batch():
  a = make(Tiny(norm=False))
  b = make(Tiny(norm=False), optimizer__accumulate=4)
  (sa, ma), (sb, mb) = a[1](a[0], batch()), b[1](b[0], batch())
  np.testing.assert_allclose(ma["loss"], mb["loss"], rtol=1e-6)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), sa.params, sb.params)


def test_frozen_parameters_stay_and_get_no_gradient():
  state, step = make(optimizer__frozen="^stem")
  new, _ = step(state, batch())
  np.testing.assert_array_equal(new.params["stem"]["kernel"], state.params["stem"]["kernel"])
  assert np.any(new.params["head"]["kernel"] != state.params["head"]["kernel"])


def test_the_average_follows_with_its_decay():
  state, step = make(optimizer__ema=0.75)
  new, _ = step(state, batch())
  wanted = 0.75 * state.params["head"]["kernel"] + 0.25 * new.params["head"]["kernel"]
  np.testing.assert_allclose(new.ema["head"]["kernel"], wanted, rtol=1e-6)
  assert new.variables()["params"] is new.ema


def test_dropout_changes_with_the_step_and_repeats_with_the_state():
  state, step = make(Tiny(dropout=0.5))
  a, b = step(state, batch())[1]["loss"], step(state, batch())[1]["loss"]
  later = step(state.replace(step=state.step + 1), batch())[1]["loss"]
  assert float(a) == float(b) != float(later)


@pytest.mark.parametrize("key", ["train__mixup", "train__cutmix"])
def test_mixed_clips_train(key):
  state, step = make(**{key: 0.8})
  _, metrics = step(state, batch())
  assert np.isfinite(metrics["loss"])


@dataclasses.dataclass(frozen=True)
class TwoObjectives(Classification):
  """Cross entropy for the stem, its negative for the head."""

  @property
  def objectives(self):
    negative = lambda o, b: (-self.loss(o, b)[0], {})
    return (base.Objective("stem", self.loss, "^stem"), base.Objective("head", negative, "^head"))


def test_each_objective_trains_the_parameters_of_its_pattern():
  one, two = make(Tiny(norm=False)), make(Tiny(norm=False), TwoObjectives())
  a, _ = one[1](one[0], batch())
  b, _ = two[1](two[0], batch())
  change = lambda new, old, name: np.asarray(new.params[name]["bias"] - old.params[name]["bias"])
  np.testing.assert_allclose(change(a, one[0], "stem"), change(b, two[0], "stem"), rtol=1e-5, atol=1e-8)
  np.testing.assert_allclose(change(a, one[0], "head"), -change(b, two[0], "head"), rtol=1e-5, atol=1e-8)


class Sower(nn.Module):
  """Adds 3 to the loss through the collection `losses`."""

  inputs = ("video",)

  @nn.compact
  def __call__(self, video, train=False):
    x = video.mean(axis=(1, 2, 3))
    self.sow("losses", "extra", jnp.asarray(3.0))
    self.sow("figures", "size", jnp.asarray(5.0))
    return {"logits": nn.Dense(CLASSES, name="head")(x), "features": x}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_that_blocks_sow_are_added_and_figures_are_shown(accumulate):
  state, step = make(Sower(), optimizer__accumulate=accumulate)
  _, metrics = step(state, batch())
  np.testing.assert_allclose(metrics["loss"] - metrics["cross_entropy"], 3.0, rtol=1e-5)
  np.testing.assert_allclose(metrics["size"], 5.0, rtol=1e-6)


@pytest.mark.parametrize("together", [True, False])
def test_several_seeds_step_as_each_alone(together):
  (a, step), b = make(), batch()
  other = a.replace(key=jax.random.PRNGKey(7), params=jax.tree.map(lambda x: 0.5 * x, a.params))
  both = jax.tree.map(lambda *x: jnp.stack(x), a, other)
  found = jax.jit(state_lib.over_seeds(lambda state: step(state, b), together))(both)
  for i, alone in enumerate((step(a, b), step(other, b))):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[i], y, rtol=1e-5, atol=1e-6), found, alone)
  figures = step_lib.summary(jax.device_get(found[1]))
  assert figures["loss"] == pytest.approx(found[1]["loss"].mean()) and figures["loss/std"] > 0


class Deep(nn.Module):
  """Blocks of two convolutions, each with a site at its end, and dropout before the classifier."""

  blocks: int = 6
  inputs = ("video",)

  @nn.compact
  def __call__(self, video, train=False):
    x = nn.Dense(16)(video)
    for i in range(self.blocks):
      y = nn.tanh(nn.Conv(16, (3, 3))(x)) ** 2
      y = nn.BatchNorm(use_running_average=not train)(nn.tanh(nn.Conv(16, (3, 3))(jnp.sin(y))))
      x, _ = sites.Site(f"block{i}.out")(x + y)
    x = nn.Dropout(0.5, deterministic=not train)(x.mean(axis=(1, 2, 3)))
    return {"logits": nn.Dense(CLASSES)(x)}


def test_what_is_not_kept_is_computed_anew_with_the_same_result():
  (state, step), (_, lean) = (make(Deep(), train__remat=pattern) for pattern in ("", "*.out"))
  (one, figures), (other, same) = step(state, batch(4)), lean(state, batch(4))
  chex.assert_trees_all_close(one.params, other.params, rtol=1e-5, atol=1e-6)
  chex.assert_trees_all_close(one.stats, other.stats, rtol=1e-5, atol=1e-6)
  chex.assert_trees_all_close(figures, same, rtol=1e-4)


def test_only_what_leaves_the_sites_is_kept_for_gradients(capsys):
  """What a CPU's compiler computes anew it finds to be the same, and keeps: its memory does not show this."""
  model, x = Deep(blocks=6), jnp.ones((2, 2, 4, 4, 3))
  variables = model.init(jax.random.key(0), x)

  def loss(params):
    y, _ = model.apply({**variables, "params": params}, x, train=True, rngs={"dropout": jax.random.key(1)},
                       mutable=["batch_stats"])
    return y["logits"].sum()

  kept = {}
  for pattern in ("", "*.out"):
    jax.ad_checkpoint.print_saved_residuals(step_lib.keeping(loss, pattern), variables["params"])
    kept[pattern] = [line for line in capsys.readouterr().out.splitlines() if "from the argument" not in line]
  assert sum("named 'kept'" in line for line in kept["*.out"]) == 6
  assert len(kept[""]) > 2 * len(kept["*.out"])


def test_a_pattern_of_what_is_kept_that_no_site_has_is_named():
  state, step = make(Deep(blocks=2), train__remat="res*")
  with pytest.raises(errors.ConfigError, match=r"train.remat='res\*' matches no site.* block0.out, block1.out"):
    step(state, batch())
