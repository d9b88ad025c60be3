"""What a run says of itself before its first step, and where there is none left."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors
from vidx.data import examples, plans
from vidx.data.records import Dataset, Media, Record
from vidx.nn import tracing
from vidx.train import build, config, loop, sharding


def dataset(kind, count=9, draws=0, companions=()):
  records = [Record(str(i), Media(f"{i}", kind), companions={c: Media(c, kind) for c in companions})
             for i in range(count)]
  plan = plans.Balanced(np.zeros((count, 3), int), np.zeros(count, int), draws) if draws else None
  return Dataset("some", "train", tuple(records), plan=plan)


def run_of(data, total=440, most=0, seeds=1):
  c = config.base()
  c.system.name = "small"
  c.train.update(max_steps=most, seeds=seeds)
  abstract = types.SimpleNamespace(params={"kernel": jnp.zeros((seeds, 3, 400))})
  return build.Run(c, *[None] * 7, total, 1.0, examples.unit(data), None, abstract, None, None)


@pytest.mark.parametrize("data, said, videos", [
    (dataset("video"), "9 clips", "videos"), (dataset("frames"), "9 clips", "videos"),
    (dataset("image"), "9 images", "images"), (dataset("still"), "9 images", "images"),
    (dataset("features"), "9 videos", "videos"), (dataset("text"), "9 texts", "texts"),
    (dataset("image", companions=("pose", "target")), "9 triplets", "triplets"),
    (dataset("image", draws=50, companions=("pose", "target")), "50 triplets", "triplets"),
])
def test_examples_are_called_what_they_are(data, said, videos):
  run = run_of(data)
  assert f"small: 1,200 parameters, {said} to train on, 4 to evaluate, 440 steps" in run.told(data, dataset("video", 4))
  assert run.unit in examples.UNITS and run.videos == videos


@pytest.mark.parametrize("most, last, said", [
    (0, 440, " 440 steps,"), (60, 60, " 60 of 440 steps (train.max_steps),"), (900, 440, " 440 steps,")])
def test_steps_are_those_that_will_be_taken(most, last, said):
  run = run_of(dataset("video"), most=most, seeds=3)
  assert run.last_step == last and said in run.told(dataset("video"), dataset("video"))
  assert run.parameters == 1200


@pytest.mark.parametrize("batch_size, data, epoch", [
    (9, dataset("video"), 0), (10, dataset("video"), 9), (2, dataset("video", 1), 1), (16, dataset("text", 4), 4),
    (50, dataset("image", draws=50), 0), (51, dataset("image", draws=50), 50)])
def test_a_batch_that_holds_examples_more_than_once_is_told_in_a_line(batch_size, data, epoch):
  run = run_of(data)
  run.config.train.batch_size = batch_size
  first, *more = run.told(data, data, start=3).splitlines()
  assert first.endswith(", resumed at step 3") and len(more) == bool(epoch)
  assert not more or f"train.batch_size={batch_size} is larger than an epoch of {epoch}," in more[0]


@pytest.mark.parametrize("start, most, said", [
    (440, 0, "runs/a is finished after 440 steps. "), (440, 60, "runs/a is finished after 440 steps. "),
    (60, 60, "runs/a: 60 of 440 steps done, and train.max_steps=60 asks for no more. "),
    (80, 60, "runs/a: 80 of 440 steps done, and train.max_steps=60 asks for no more. "),
])
def test_where_no_step_is_left_the_line_says_how_many_are_done_and_why_no_more_are(start, most, said):
  assert loop._nothing_left("runs/a", start, 440, most) == f"{said}Next: vidx eval --workdir=runs/a"


@pytest.mark.parametrize("fields", [{"groups": 7}, {"width": 0}, {"max_segments": 0}, {"dtype": "float17"}])
def test_fields_of_which_no_network_can_be_made_end_in_a_line(fields):
  records = [Record(str(i), Media(str(i), "features"), (0,), extra={"runs": ((0, 9),), "transcript": (0,)})
             for i in range(4)]
  c = config.base()
  c.system = dict(name="mucon", width=16, hidden=16, groups=4, backbone=(1, 2), pools=(1,), max_segments=4)
  c.system.update(fields)
  c.task = dict(name="segmentation")
  c.data.update(dataset=dict(name="mucon"), feature_size=8)
  c.train.batch_size = 2
  with pytest.raises(errors.ConfigError, match="system 'mucon' cannot be made with the fields that `system` gives it"):
    build.build(c, Dataset("some", "train", tuple(records), ("a", "b"), multilabel=True))


def test_the_step_is_traced_for_the_devices_that_a_batch_is_spread_over(monkeypatch):
  seen = []
  monkeypatch.setattr(build.step_lib, "make_train_step",
                      lambda *a: lambda state, batch: (state, seen.append(tracing.spread()) or batch))
  monkeypatch.setattr(build.sharding, "parts", lambda mesh: 3)
  mesh = sharding.make_mesh(config.base().mesh, devices=jax.devices()[:1])
  run = dataclasses.replace(run_of(dataset("video")), mesh=mesh, shardings=sharding.replicated(mesh))
  run.step().eval_shape(jnp.zeros(2), jnp.zeros(2))
  assert seen == [3] and tracing.spread() == 1
