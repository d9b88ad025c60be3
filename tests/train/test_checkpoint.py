"""Checkpoints: what is kept, what is restored and where, what is refused."""

import functools
import types

import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import vidx
from vidx import errors
from vidx.train import checkpoint, config, optim, state as state_lib, warm_start


def make(width=4, step=0, ema=False):
  params = {"stem": {"kernel": jnp.full((3, width), 1.0 + step)}, "head": {"bias": jnp.arange(2.0)}}
  tx = optax.sgd(0.1, 0.9)
  return state_lib.TrainState(
      step=jnp.asarray(step), params=params, stats={"batch_stats": {"mean": jnp.full((3,), float(step))}},
      opt_state=tx.init(params), ema=jax.tree.map(lambda x: x + 10, params) if ema else {},
      key=jax.random.PRNGKey(step),
      plateau={"scale": jnp.ones(()), "best": jnp.zeros(()), "wait": jnp.zeros(())})


def placed(state):
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.eval_shape(lambda: state), jax.tree.map(lambda _: device, state)


def saved(folder, values, **options):
  c = checkpoint.Checkpointer(str(folder), metric="_best", **options)
  for step, value in values:
    c.save(make(step=step), {"batches": step}, {"top-1": value} if value is not None else None, "top-1")
  c.wait()
  return c


def test_what_is_saved_comes_back_whole(tmp_path):
  c = saved(tmp_path, [(7, 50.0)])
  state, data = c.restore(7, *placed(make()))
  jax.tree.map(np.testing.assert_array_equal, state, make(step=7))
  assert data["batches"] == 7


def test_reading_a_run_logs_nothing_that_a_user_would_take_for_damage(tmp_path, caplog):
  saved(tmp_path, [(7, 50.0)]).close()
  with caplog.at_level("INFO"):
    checkpoint.Checkpointer(str(tmp_path), read_only=True).restore_variables(7)
  assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_a_save_asks_nothing_of_the_service_for_preemption(tmp_path, monkeypatch):
  asked = []
  monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", asked.append)
  saved(tmp_path, [(7, 50.0), (8, 60.0)])
  assert not asked


def test_the_last_and_the_best_are_kept(tmp_path):
  c = saved(tmp_path, [(1, 90.0), (2, 10.0), (3, 20.0), (4, 30.0), (5, None)], keep_last=2, keep_best=1)
  assert c.steps() == [1, 4, 5] and c.best() == 1 and c.latest() == 5


def test_an_evaluation_with_nothing_to_compare_with_is_never_the_best(tmp_path):
  c = saved(tmp_path / "known", [(1, float("nan")), (2, 10.0), (3, float("nan"))], keep_last=2, keep_best=1)
  assert c.steps() == [2, 3] and c.best() == 2
  c = saved(tmp_path / "unknown", [(1, float("nan")), (2, float("nan")), (3, float("nan"))], keep_last=2, keep_best=1)
  assert c.best() is None and c.latest() == 3


def test_averaged_parameters_are_what_is_evaluated(tmp_path):
  c = checkpoint.Checkpointer(str(tmp_path))
  c.save(make(step=3, ema=True), {})
  c.wait()
  variables = checkpoint.Checkpointer(str(tmp_path), read_only=True).restore_variables(3)
  np.testing.assert_array_equal(variables["params"]["head"]["bias"], [10, 11])
  np.testing.assert_array_equal(variables["batch_stats"]["mean"], [3, 3, 3])


def test_a_half_written_checkpoint_is_removed_and_named(tmp_path):
  saved(tmp_path, [(1, None)]).close()
  half = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp-5"
  half.mkdir()
  (half / "x").write_text("half")
  c = checkpoint.Checkpointer(str(tmp_path))
  assert c.unfinished == [half.name] and not half.exists() and c.latest() == 1


def test_another_architecture_is_one_clear_line(tmp_path):
  c = saved(tmp_path, [(1, None)])
  with pytest.raises(errors.CheckpointError, match=r"stem/kernel is \(3, 4\) there and \(3, 8\) here") as e:
    c.restore(1, *placed(make(width=8)))
  assert "\n" not in str(e.value)


def test_a_workdir_without_checkpoints_is_named(tmp_path):
  with pytest.raises(errors.CheckpointError, match="holds no checkpoints"):
    checkpoint.Checkpointer(str(tmp_path / "none"), read_only=True)


def test_a_warm_start_reports_what_it_loaded_and_why_not():
  old = {"params": {"stem": {"kernel": np.ones((3, 4))}, "head": {"kernel": np.ones((4, 9))}, "old": np.ones(1)}}
  new = {"params": {"stem": {"kernel": np.zeros((3, 4))}, "head": {"kernel": np.zeros((4, 2))},
                    "block": {"scale": np.zeros(2)}}}
  merged, report = warm_start.merge(new, old)
  assert merged["params"]["stem"]["kernel"].all() and not merged["params"]["head"]["kernel"].any()
  assert report["loaded"] == ["params/stem/kernel"]
  assert report["other shape"] == ["params/head/kernel: (4, 9) there, (4, 2) here"]
  assert report["not in the checkpoint"] == ["params/block/scale"]
  assert report["not used"] == ["params/old"]


def test_both_pathways_start_from_one_trunk_and_other_inputs_from_the_mean_of_its_colours():
  kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype("f")
  old = {"params": {"stem": {"kernel": kernel}, "norm": {"scale": np.ones(4)}}}
  pathway = lambda channels: {"stem": {"kernel": np.zeros((3, 3, channels, 4), "f")}, "norm": {"scale": np.zeros(4)}}
  merged, report = warm_start.merge({"params": {"busy": pathway(3), "quiet": pathway(10)}}, old)
  np.testing.assert_array_equal(merged["params"]["busy"]["stem"]["kernel"], kernel)
  quiet = merged["params"]["quiet"]["stem"]["kernel"]
  np.testing.assert_allclose(quiet, np.broadcast_to(kernel.mean(2, keepdims=True), quiet.shape), rtol=1e-6)
  assert report["mean of the colours"] == ["params/quiet/stem/kernel"]
  assert len(report["loaded"]) == 3 and not report["not used"]


def test_a_warm_start_may_exclude_and_choose_by_pattern():
  old = {"params": {"a": np.ones(2), "b": np.ones(2)}}
  new = {"params": {"a": np.zeros(2), "b": np.zeros(2)}}
  _, report = warm_start.merge(new, old, exclude=["b$"])
  assert report["excluded"] == ["params/b"] and report["loaded"] == ["params/a"]
  _, report = warm_start.merge(new, old, pattern="/b")
  assert report["loaded"] == ["params/b"]
  assert warm_start.entries("x") == [("", "x", "")] == warm_start.entries(("x",))
  assert warm_start.entries((("head", "y"),)) == [("head", "y", "")] == warm_start.entries(("head", "y"))
  assert warm_start.entries((("head", "y", "student"), ("", "z"))) == [("head", "y", "student"), ("", "z", "")]
  with pytest.raises(errors.ConfigError, match="none of WORKDIR"):
    warm_start.entries((("a", "b", "c", "d"),))


def test_a_warm_start_may_take_a_part_of_a_run_for_a_part_of_a_model():
  rng = np.random.default_rng(0)
  stem = lambda: {"stem": {"kernel": rng.normal(size=(3, 4))}}
  source = {"params": {"teacher": stem(), "student": {"trunk": stem()}, "head": {"kernel": np.ones((4, 2))}},
            "batch_stats": {"student": {"trunk": {"stem": {"mean": np.ones(4)}}}}}
  assert set(warm_start.part_of(source, "student", "runs/match")) == {"params", "batch_stats"}
  empty = lambda: {"stem": {"kernel": np.zeros((3, 4))}}
  wanted = source["params"]["student"]["trunk"]["stem"]["kernel"]
  for new, part in (({"trunk": empty()}, "student"), ({"other": {"trunk": empty()}}, "student"),
                    (empty(), "student/trunk")):
    merged, report = warm_start.merge({"params": new}, warm_start.part_of(source, part, "runs/match"))
    (kernel,), (loaded,) = jax.tree.leaves(merged), report["loaded"]
    np.testing.assert_array_equal(kernel, wanted)
  with pytest.raises(errors.CheckpointError, match="runs/match has no part 'studnt'.*nearest: 'student'.*teacher"):
    warm_start.part_of(source, "studnt", "runs/match")


def test_kernels_of_clips_start_from_those_of_images_and_see_a_still_clip_as_the_image():
  kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype("f")
  old = {"params": {"stem": {"kernel": kernel}}}
  for shape in ((5, 3, 3, 3, 4), (1, 3, 3, 3, 4)):
    merged, report = warm_start.merge({"params": {"stem": {"kernel": np.zeros(shape, "f")}}}, old)
    assert report["repeated over time"] == ["params/stem/kernel"]
    np.testing.assert_allclose(merged["params"]["stem"]["kernel"].sum(0), kernel, rtol=1e-5)
    np.testing.assert_allclose(merged["params"]["stem"]["kernel"][0], kernel / shape[0], rtol=1e-5)
  _, report = warm_start.merge({"params": {"stem": {"kernel": np.zeros((5, 3, 3, 2, 4), "f")}}}, old)
  assert report["mean of the colours"] == ["params/stem/kernel"]
  _, report = warm_start.merge({"params": {"stem": {"kernel": np.zeros((5, 1, 1, 3, 4), "f")}}}, old)
  assert report["other shape"]


def test_a_system_may_say_itself_what_a_parameter_starts_from():
  old = {"params": {"a": np.full(2, 3.0), "b": np.ones(2)}}
  adopt = lambda path, given: {"params/x": "params/a"}.get(path)
  merged, report = warm_start.merge({"params": {"x": np.zeros(2), "b": np.zeros(2)}}, old, adopt=adopt)
  assert merged["params"]["x"].tolist() == [3, 3] and merged["params"]["b"].tolist() == [1, 1]
  assert len(report["loaded"]) == 2 and not report["not used"]


SMALL = dict(stages=(1, 1), width=4, num_classes=3)
VIT = dict(num_classes=3, patch=4, dim=8, depth=2, heads=2)
PATHWAYS = dict(stages=(1, 1), width=16, strides=(1, 2), slow_temporal=(1, 1), fast_temporal=(1, 1), num_classes=3)


@functools.cache
def zeros_of(name, **fields):
  """Variables of a model that was never run."""
  model, side = vidx.create_model(name, **fields), fields.get("image", 16)
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), jax.ShapeDtypeStruct((1, 8, side, side, 3), jnp.float32))
  return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


@pytest.mark.parametrize("here, there, alike", [
    (("resnet_18", SMALL), ("resnet_18", {**SMALL, "num_classes": 9}), True),
    (("resnet_18", SMALL), ("resnet_18", {**SMALL, "stages": (2, 2)}), True),
    (("resnet_18", {**SMALL, "stages": (2, 2)}), ("resnet_18", SMALL), True),
    (("resnet3d_18", SMALL), ("resnet_18", SMALL), True),
    (("tsm_r50", SMALL), ("resnet_50", SMALL), True),
    (("slowfast_r50_4x16", PATHWAYS), ("resnet_50", {**SMALL, "width": 16}), True),  # the fast pathway is narrower
    (("deit_s", {**VIT, "image": 16}), ("deit_s", {**VIT, "image": 24}), True),
    (("resnet_18", SMALL), ("resnet_18", {**SMALL, "width": 8}), False),
    (("resnet_50", SMALL), ("resnet_18", SMALL), False),
    (("deit_s", {**VIT, "image": 16}), ("deit_s", {**VIT, "dim": 16, "image": 16}), False),
    (("x3d_s", dict(num_classes=3)), ("resnet_18", SMALL), False),
])
def test_another_width_is_another_network_and_a_new_head_or_place_or_module_is_not(here, there, alike):
  fresh, source = (zeros_of(name, **fields) for name, fields in (here, there))
  merged, report = warm_start.merge(fresh, source)
  found, kernels, of = warm_start.fits(merged, source, report)
  assert found == alike and kernels <= of


def test_what_stays_fresh_is_told_by_the_parts_of_the_model_where_it_is_much():
  few = [f"params/trunk/res2_{i}/kernel" for i in range(6)]
  assert warm_start._grouped(few) == few
  many = [f"params/{part}/res{i}_{j}/conv/kernel: (1,) there, (2,) here" for part in ("slow", "fast") for i in range(3)
          for j in range(3)]
  assert warm_start._grouped([*many, "params/head/kernel"]) == [
      f"9 in params/slow, such as {many[0]}", f"9 in params/fast, such as {many[9]}", "params/head/kernel"]
  assert warm_start._grouped([f"params/b{i}/kernel" for i in range(9)]) == ["9, such as params/b0/kernel"]


def test_a_run_of_another_width_is_refused_in_a_line_that_names_the_field(tmp_path):
  started_from(tmp_path)
  there = config.base()
  there.system = dict(name="small", width=4, num_classes=3)
  (tmp_path / "config.json").write_text(config.to_json(there))
  run = beginning(tmp_path, width=8)
  run.config.system = dict(name="small", width=8, num_classes=9)
  with pytest.raises(errors.CheckpointError) as e:
    warm_start.start(run)
  said = str(e.value)
  assert "2 of 3 tensors fit" in said and "of kernels 0 of 1" in said and "(system.width: 4 there, 8 here)" in said
  run.config.system = dict(name="large")
  with pytest.raises(errors.CheckpointError, match=r"\(system.name: small there, large here\); it is of another network"):
    warm_start.start(run)
  run.config.train.init_from = (("head", str(tmp_path)),)
  assert warm_start.start(run)[0].params["stem"]["kernel"].shape == (3, 8)


def beginning(source, width=4, **changes):
  """A run of a model of two parameters that starts from a folder."""
  c = config.base()
  config.override(c, [f"{key.replace('__', '.')}={value}" for key, value in changes.items()])
  c.train.init_from = (str(source),)
  fresh = make(width, step=5)
  tx = optim.make_optimizer(c.optimizer, lambda step: 0.1, fresh.params)
  state = state_lib.complete(fresh, tx, bool(c.optimizer.ema))
  abstract, shardings = placed(state)
  return types.SimpleNamespace(config=c, model=None, tx=tx, abstract=abstract, shardings=shardings, init=lambda: state)


def started_from(folder):
  """A folder of a run whose parameters are not those that `beginning` makes."""
  saved(folder, [(1, 50.0)])
  (folder / "config.json").write_text(config.to_json(config.base()))
  return folder


@pytest.mark.parametrize("name", optim.NAMES)
def test_an_optimiser_and_averages_begin_at_what_was_loaded(name, tmp_path):
  run = beginning(started_from(tmp_path), optimizer__name=name, optimizer__ema=0.9, optimizer__frozen=("^head",))
  state, _ = warm_start.start(run)
  loaded = make(step=1)
  same = lambda a, b: jax.tree.map(np.testing.assert_array_equal, a, b)
  same(state.params, loaded.params)
  same(state.ema, loaded.params)
  same(state.stats, loaded.stats)
  same(state.opt_state, jax.jit(run.tx.init)(loaded.params))
  if name == "ranger":
    has_slow = lambda x: hasattr(x, "slow")
    found, = filter(has_slow, jax.tree.leaves(state.opt_state, is_leaf=has_slow))
    np.testing.assert_array_equal(found.slow["stem"]["kernel"], loaded.params["stem"]["kernel"])


def test_a_pattern_of_what_stays_fresh_that_matches_nothing_is_an_error(tmp_path):
  run = beginning(started_from(tmp_path), train__init_exclude=("params/stem", "batch_stats"))
  state, reports = warm_start.start(run)
  np.testing.assert_array_equal(state.params["stem"]["kernel"], make(step=5).params["stem"]["kernel"])
  assert len(reports[str(tmp_path)]["excluded"]) == 2
  with pytest.raises(errors.ConfigError, match="train.init_exclude pattern 'heads' matches no parameter"):
    warm_start.start(beginning(tmp_path, train__init_exclude=("stem", "heads")))


def test_a_source_that_was_checked_is_not_read_again(tmp_path, monkeypatch):
  run = beginning(started_from(tmp_path))
  sources = warm_start.read(run.config)
  monkeypatch.setattr(warm_start, "read_variables", lambda source: pytest.fail(f"{source} is read again"))
  warm_start.check(run, sources)
  state, _ = warm_start.start(run, sources)
  np.testing.assert_array_equal(state.params["stem"]["kernel"], make(step=1).params["stem"]["kernel"])
