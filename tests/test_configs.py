"""Every config, in each of its variants, is built to its train step: by shapes alone, on networks with fewer blocks."""

import functools
import inspect
import pathlib
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, systems
from vidx.backbones import inception
from vidx.bench import stand_in
from vidx.data import batch as batch_lib, transforms
from vidx.train import build, config, optim, state, step, warm_start

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").glob("*/*.py")
               if p.parent.name not in ("claims", "proposals"))
RUN = {file: runpy.run_path(str(ROOT / file)) for file in FILES}
CASES = [file if word is None else f"{file}:{word}"
         for file in FILES for word in (None, *RUN[file].get("VARIANTS", ()))]
SHALLOW = {"depth": 6, "stages": (1, 1, 1, 1), "repeats": (1, 1, 1)}  # blocks of a stage are called alike


@pytest.fixture(scope="module", autouse=True)
def tracing_little():
  """Fresh states by shape, shared by the configs of one network; gradients are of the parameters' shapes, untraced.

  That every network can be derived is for the tests of systems; it takes four times as long as to run it.
  """
  begin, known = state.begin, {}

  def shaped(model, inputs, seed):
    key = (repr(model), *((x.shape[1:2], x.shape[-1:]) for x in inputs))
    if key not in known:
      known[key] = jax.eval_shape(lambda: begin(model, inputs, 0))
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), known[key])

  def forward_alone(function, params, has_aux):
    assert has_aux
    losses, rest = function(params)
    return losses, lambda _: (jax.tree.map(jnp.zeros_like, params),), rest

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(state, "begin", shaped)
    patch.setattr(jax, "vjp", forward_alone)
    yield


@functools.cache
def seen():
  """The systems that were run in training, with their tasks."""
  return set()


def shallow(system, num_classes):
  """The system with one block per stage, and as alike as can be to that of other configs."""
  known = systems.field_names(system["name"], system.get("trunk"))
  way = next((k for k in SHALLOW if k in known), "")
  row = systems.rows()[system["name"]]
  samples = "fused" in known  # of a network with samplers, stages are the blocks that sample
  other = (system["name"] in ("ms_tcn", "stmn_vgg16") or "separable" in known  # in which stages are something else
           or samples and (way == "stages" or "fused" in row.fields))  # blocks are named by the row
  less = {way: SHALLOW[way]} if way and way not in system and not other else {}
  if "i3d" in (system["name"], system.get("trunk")):
    less["stages"] = tuple(blocks[:1] for blocks in inception.STAGES)
  if way == "repeats" and system.get("placements"):  # behind the last block, as there are fewer
    less["placements"] = tuple((f"{point.partition(':')[0]}:1" if ":" in point else point, frames, images)
                               for point, frames, images in system["placements"])
  if "non_local" in known:  # of blocks that are left out
    less["non_local"] = ()
  if "growth" in known:
    less["layers"] = SHALLOW["stages"]
  for part in ("student_fields", "teacher_fields"):
    if part in known:
      less[part] = {**system.get(part, {}), "stages": SHALLOW["stages"]}
  if "sampler_fields" in known:
    less.setdefault("sampler_fields", system.get("sampler_fields", dict(stages=(1, 1, 1))))
  kept = {k: v for k, v in system.items() if k not in ("dropout", "frozen_bn")}
  return {**kept, **less, **({"num_classes": num_classes} if "num_classes" in known else {})}


@pytest.mark.parametrize("case", CASES)
def test_a_config_is_built_to_its_train_step(case, tmp_path):
  c = config.load_file(str(ROOT / case))
  assert config.differences(c, config.from_json(config.to_json(c))) == []
  config.check(c)
  system = c.system.to_dict()
  known = systems.field_names(system["name"], system.get("trunk"))
  systems.create_model(**({"num_classes": stand_in.classes(c)} if "num_classes" in known else {}) | system)
  with pytest.raises(errors.DataError):  # the reader and its options are known, the folder is empty
    c.data.root = str(tmp_path)
    build.load_split(c, c.data.train_split)
  c.data.feature_size = c.data.feature_size or 64  # of one's own videos only the files say
  c.system = shallow(system, stand_in.classes(c))
  dataset = stand_in.dataset(c)
  run = build.build(c, dataset)
  batch = stand_in.batch(c, dataset, batch_lib.wanted(run.model, run.task))
  if "features" not in batch and c.data.dataset.name != "triplets":  # those of photos are the part's own
    transforms.train_transform(c.data)
    transforms.eval_transform(c.data, c.eval.crops)
  assert run.total_steps > 0 and np.isfinite(float(run.schedule(run.total_steps // 2)))
  abstract = run.abstract
  for pattern, *_ in warm_start.entries(c.train.init_from):
    paths = (jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in jax.tree_util.tree_leaves_with_path(
        {"params": abstract.params}))
    assert any(re.search(pattern, path) for path in paths), f"train.init_from: no parameter is called '{pattern}'"
  optim.matches({"params": abstract.params, **abstract.stats}, c.train.init_exclude, "train.init_exclude")
  key = (systems.rows()[c.system.name].factory, repr(run.task), c.optimizer.accumulate, bool(c.train.mixup))
  if key in seen():  # what is left is the optimiser
    updates, _ = jax.eval_shape(run.tx.update, abstract.params, abstract.opt_state, abstract.params)
    assert jax.tree.structure(updates) == jax.tree.structure(abstract.params)
    return
  seen().add(key)
  train_step = step.make_train_step(run.model, run.task, run.tx, run.schedule, c, run.num_classes, run.dtype,
                                    run.total_steps)
  after, figures = jax.eval_shape(train_step, abstract, batch)
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert shapes(after) == shapes(abstract) and figures["loss"].shape == ()


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
@pytest.mark.parametrize("case, reason", [
    ("epic100/saoa", "verb_noun', which also learns verb"),
    ("kinetics600/tags", "tags_and_class', which also learns class"),
    ("hmdb51/stc_transfer", "matching', whose targets cannot be mixed"),
    ("ava/avslowfast", "box_actions', whose targets cannot be mixed"),
    ("toybox/avslowfast", "which also takes audio"), ("msrvtt/t2vlad", "for features"), ("folder/tsm", "")])
def test_only_clips_and_their_one_label_are_mixed(case, reason, mix):
  c = config.load_file(case)
  c.system = shallow(c.system.to_dict(), stand_in.classes(c))
  c.train[mix] = 0.2
  if reason:
    with pytest.raises(errors.ConfigError, match=reason) as e:
      build.build(c, stand_in.dataset(c))
    assert "set both to 0" in str(e.value) and "\n" not in str(e.value)
  else:
    build.build(c, stand_in.dataset(c))


@pytest.mark.parametrize("file", FILES)
def test_what_a_config_takes_behind_the_colon_is_listed_the_default_first(file):
  words = RUN[file].get("VARIANTS", ())
  taken = list(inspect.signature(RUN[file]["get_config"]).parameters.values())
  assert [p.default for p in taken] == list(words[:1])
  with pytest.raises(errors.ConfigError, match="knows no 'another'"):
    config.load_file(f"{ROOT / file}:another")


def test_a_config_of_frames_at_another_stride_says_so():
  for word, stride in (("stride16_scratch", 16), ("stride1_scratch", 1), ("tcb_scratch", 2), ("stc_resnet101_16", 2)):
    c = config.load_file(str(ROOT / f"configs/ucf101/stc.py:{word}"))
    assert (c.data.stride, c.data.frames, bool(c.train.init_from)) == (stride, 16, not word.endswith("scratch"))


@pytest.mark.parametrize("file", FILES)
def test_a_config_says_how_to_run_it(file):
  assert f"--config={file}" in (ROOT / file).read_text()
