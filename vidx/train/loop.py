"""The training loop: one, for every system and task."""

import collections
from collections.abc import Mapping
import dataclasses
import json
import math
import os
import signal
import time
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx import systems
from vidx import tasks
from vidx import writing
from vidx.data import batch as batch_lib, datasets, examples, pipeline, records
from vidx.data.records import Dataset
from vidx.infer import evaluate, results
from vidx.measure import peak
from vidx.train import checkpoint, config as config_lib, optim, provenance, schedule as schedules
from vidx.train import sharding, state as state_lib, step as step_lib, warm_start, writers

# Keys that may change between the stops of one run: they change no figure.
FREE_KEYS = ("data.root", "data.workers", "data.prefetch", "data.threads", "train.log_every",
             "train.max_steps", "eval.", "mesh.", "checkpoint.")


@dataclasses.dataclass(frozen=True)
class Run:
  """What a config means: everything that is built before the first step.

  Attributes:
    unit: what an example is called: "clips", or "videos" where it is a whole one.
    inputs: shapes of what the model takes, of one example.
    abstract: shapes of the state; with `train.seeds` above 1 every leaf has their axis in front.
    init: () -> TrainState, placed.
  """

  config: ConfigDict
  model: Any
  task: Any
  mesh: jax.sharding.Mesh
  tx: Any
  schedule: Any
  dtype: Any
  num_classes: int | dict[str, int]
  total_steps: int
  steps_per_epoch: float
  unit: str
  inputs: Any
  abstract: state_lib.TrainState
  shardings: state_lib.TrainState
  init: Any

  def step(self):
    """The compiled step; its state is donated."""
    step = step_lib.make_train_step(self.model, self.task, self.tx, self.schedule, self.config,
                                    self.num_classes, self.dtype, self.total_steps)
    several = lambda states, batch: state_lib.over_seeds(lambda state: step(state, batch))(states)
    return jax.jit(several if self.config.train.seeds > 1 else step, donate_argnums=0,
                   out_shardings=(self.shardings, sharding.replicated(self.mesh)))


def compute_dtype(precision: str) -> Any:
  """bfloat16 on TPU and GPU, float32 on a CPU, unless named."""
  names = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
  if precision == "auto":
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
  if precision not in names:
    raise errors.ConfigError(f"train.precision '{precision}' is not one of auto, float32, bfloat16.")
  return names[precision]


def make_model(config: ConfigDict, task, sizes: Mapping[str, int], dtype: Any) -> tuple[Any, int | dict[str, int]]:
  """The model of a config, and its number of classes (of several heads {head: number}).

  Args:
    config: complete config.
    task: says which targets are learned.
    sizes: classes by target; `system.num_classes` may be larger.
    dtype: compute dtype.

  Raises:
    ConfigError: an unknown system or field, or fewer classes than the data has.
  """
  fields = {k: v.to_dict() if isinstance(v, ConfigDict) else v for k, v in config.system.items() if k != "name"}
  wanted = task.num_classes(sizes)
  if "num_classes" not in systems.field_names(config.system.name, fields.get("trunk")) and "num_classes" not in fields:
    return systems.create_model(config.system.name, **{"dtype": dtype, **fields}), wanted
  given = fields.setdefault("num_classes", wanted)
  for head in wanted if isinstance(wanted, Mapping) else ("",):
    have, need = (given.get(head, 0) if isinstance(given, Mapping) else given), wanted[head] if head else wanted
    if (isinstance(given, Mapping) != bool(head)) or have < need:
      raise errors.ConfigError(f"system.num_classes is {given}, but the data has {wanted} classes.")
  return systems.create_model(config.system.name, **{"dtype": dtype, **fields}), given


def build(config: ConfigDict, dataset: Dataset) -> Run:
  """Model, task, optimiser, mesh and shapes of a run; allocates nothing.

  Args:
    config: complete config.
    dataset: the training split, for its size and classes.

  Raises:
    ConfigError: parts that do not fit each other or the data.
  """
  several = config.train.seeds > 1
  if several and (config.schedule.name == "plateau" or config.train.init_from):
    raise errors.ConfigError("train.seeds above 1 goes neither with schedule.name='plateau' nor with train.init_from:"
                             " train one seed at a time.")
  dtype = compute_dtype(config.train.precision)
  task = tasks.from_config(config.task.to_dict(), dataset)
  sizes = {name: len(target.classes) for name, target in dataset.targets.items()}
  model, num_classes = make_model(config, task, sizes, dtype)
  whole = "features" in getattr(model, "inputs", ())
  if whole != examples.of_features(dataset):
    raise errors.ConfigError(f"system.name '{config.system.name}' takes {'features' if whole else 'clips'}, but the"
                             f" records of data set '{dataset.name}' are {'clips' if whole else 'features'}.")
  if whole and (config.train.mixup or config.train.cutmix):
    raise errors.ConfigError("train.mixup and train.cutmix mix clips; set both to 0 for sequences of features.")
  batch_size = config.train.batch_size
  mesh = sharding.make_mesh(config.mesh, batch_size)
  if batch_size % (config.optimizer.accumulate * mesh.shape["data"] * mesh.shape["fsdp"]):
    raise errors.ConfigError(f"batch size {batch_size} does not divide into optimizer.accumulate ="
                             f" {config.optimizer.accumulate} micro-batches over the mesh.")
  steps_per_epoch = len(dataset) / batch_size
  total_steps = max(1, round(config.schedule.epochs * steps_per_epoch))
  schedule = schedules.make_schedule(config.schedule, steps_per_epoch, total_steps, batch_size)
  inputs = examples.input_shapes(model, config.data, dtype, num_classes)
  ones = lambda: [jnp.zeros(s.shape, s.dtype) for s in inputs]
  begin = lambda seed=config.seed: state_lib.begin(model, ones(), seed)
  first = jax.eval_shape(begin)  # the one time that the model is traced here, which takes seconds
  tx = optim.make_optimizer(config.optimizer, schedule, first.params)
  complete = lambda state: state_lib.complete(state, tx, bool(config.optimizer.ema))
  create, abstract = lambda: complete(begin()), jax.eval_shape(complete, first)
  shardings = sharding.tree_shardings(abstract, mesh, config.mesh)
  if several:
    seeds = config.seed + np.arange(config.train.seeds)
    create = lambda: jax.vmap(lambda seed: complete(begin(seed)))(seeds)
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(seeds), *x.shape), x.dtype), abstract)
    shardings = sharding.stacked(shardings)
  return Run(config, model, task, mesh, tx, schedule, dtype, num_classes, total_steps, steps_per_epoch,
             "videos" if whole else "clips", inputs, abstract, shardings, jax.jit(create, out_shardings=shardings))


def load_split(config: ConfigDict, split: str) -> Dataset:
  data = config.data
  return datasets.load(data.dataset.name, data.root, split, max_missing=data.max_missing,
                       **config_lib.reader_options(data))


def train(config: ConfigDict, workdir: str, profile: bool = False, runs: str = "") -> dict[str, Any]:
  """Trains to the end of the schedule, or resumes what an earlier call left.

  Args:
    config: complete config.
    workdir: folder of the run.
    profile: traces a few steps.
    runs: folder of the earlier stages of a recipe, which `train.init_from` names as {runs}/NAME.

  Returns:
    {'step', 'metrics', 'best_step', 'failures'} of the finished run.

  Raises:
    UserError: config, data or workdir that cannot be used; NaN loss.
  """
  if not workdir:
    raise errors.ConfigError("no workdir: add --workdir=FOLDER, where the run is kept.")
  config_lib.with_runs(config, runs)
  main = jax.process_index() == 0
  train_set = load_split(config, config.data.train_split)
  val_set = load_split(config, config.data.val_split)
  for part in (train_set, val_set):
    examples.with_feature_size(config.data, part)
  _claim(config, workdir, train_set, val_set, main)
  run = build(config, train_set)
  saves = checkpoint.Checkpointer(workdir, config.checkpoint.keep_last, config.checkpoint.keep_best,
                                  metric="_best")
  for name in saves.unfinished:
    print(f"removed the half-written checkpoint {name}", flush=True)
  if saves.damaged:
    left = saves.latest()
    print("\n".join(saves.damaged), flush=True)
    if left is None:
      raise errors.CheckpointError(f"no checkpoint of {workdir} is whole: bring back a copy of its folder checkpoints,"
                                   " or choose another --workdir.")
    print(f"going on from step {left}", flush=True)
  state, data_state, start = _first_state(run, saves, workdir, main)
  last_step = min(run.total_steps, config.train.max_steps or run.total_steps)
  if start >= last_step:
    print(f"{workdir} is finished: {start} of {last_step} steps are done. Next: vidx eval --workdir={workdir}",
          flush=True)
    saves.close()
    return {"step": start, "metrics": {}, "best_step": saves.best(), "failures": {}}
  batches = pipeline.train_batches(
      train_set, config.data, batch_size=config.train.batch_size, seed=config.seed, start=start,
      process=(jax.process_index(), jax.process_count()), wanted=batch_lib.wanted(run.model, run.task))
  if data_state:
    batches.set_state(data_state)
  log = writers.Writers(workdir, main, start)
  console = writers.Console(last_step, start, main, config.train.log_every)
  console.say(f"{config.system.name}: {_count(run.abstract.params) // config.train.seeds:,} parameters,"
              f" {len(train_set)} {run.unit} to train on, {len(val_set)} to evaluate,"
              f" {run.total_steps} steps, {jax.device_count()} device(s)"
              + (f", {config.train.seeds} seeds" if config.train.seeds > 1 else "")
              + (f", resumed at step {start}" if start else ""))
  try:
    loop = _Loop(run, saves, batches, val_set, log, console, workdir, last_step, profile)
    result = loop.run(state, start)
  except OSError as e:
    raise checkpoint.explained(e, workdir) from e
  finally:
    batches.close()
    console.close()
    log.close()
    saves.close()
  failures = {k: v for part in sharding.gather_json(result["failures"]) for k, v in part.items()}
  result["failures"] = failures
  if main:
    for line in failure_lines(failures):
      print(line, flush=True)
    if result["step"] >= last_step:
      writing.write_json(os.path.join(workdir, "DONE.json"), result)
  return result


def failure_lines(failures: Mapping[str, str]) -> list[str]:
  """One line per file that could not be decoded."""
  if not failures:
    return []
  return [f"{len(failures)} file(s) could not be decoded and were left out:"] + [
      f"  {name}: {reason}" for name, reason in sorted(failures.items())]


class _Loop:
  """The state of a running loop; `run` is the loop itself."""

  def __init__(self, run, saves, batches, val_set, log, console, workdir, last_step, profile):
    self.run_, self.saves, self.batches, self.val_set = run, saves, batches, val_set
    self.log, self.console, self.workdir, self.last_step = log, console, workdir, last_step
    self.profile = profile
    self.pending = collections.deque()  # steps whose figures were not read yet
    # When recent steps were read, and the seconds that each waited for its batch.
    self.recent = collections.deque(maxlen=1 + max(10, run.config.train.log_every))
    self.metrics, self.evaluator = {}, None
    # Whole videos differ in length, and so in what they cost.
    self.utilization = peak.utilization(run.model, run.inputs, list(run.mesh.devices.flat)) if (
        run.unit == "clips") else None
    self.stop_asked = False

  def run(self, state, start: int) -> dict[str, Any]:
    config, run = self.run_.config, self.run_
    step_fn = run.step()
    self._listen()
    done = start
    self._restart_clock()
    for step in range(start + 1, self.last_step + 1):
      if self.profile and step == min(start + 4, self.last_step):
        jax.profiler.start_trace(os.path.join(self.workdir, "profile"))
      waited = time.perf_counter()
      batch = next(self.batches)
      waited = time.perf_counter() - waited
      self._read(keep=1)
      state, metrics = step_fn(state, sharding.put_batch(batch, run.mesh))
      self.pending.append((step, batch["id"], waited, metrics))
      done = step
      if self.profile and step == min(start + 9, self.last_step):
        jax.block_until_ready(metrics)
        jax.profiler.stop_trace()
      last = step == self.last_step or self.stop_asked
      evaluated = None
      if not self.stop_asked and self._due(config.eval.every_epochs, step):
        self._read()
        evaluated = self._evaluate(state, step)
        if config.schedule.name == "plateau":
          plateau = state_lib.on_plateau(
              state.plateau, state_lib.watched(evaluated, config.schedule.monitor or run.task.best_metric),
              config.schedule.factor, config.schedule.patience)
          state = state.replace(plateau=jax.device_put(plateau, run.shardings.plateau))
      every = config.checkpoint.every_steps
      if last or evaluated or (every and step % every == 0) or self._due(config.checkpoint.every_epochs, step, False):
        self._read()  # never keep a state that came from a loss that is not finite
        self.saves.save(state, self.batches.get_state(), evaluated, run.task.best_metric)
        if last:
          self.saves.wait()
        self._restart_clock()
      if self.stop_asked:
        self.console.say(f"stopped at step {step}; the same command goes on from here")
        break
    self._read()
    return {"step": done, "metrics": self.metrics, "best_step": self.saves.best(),
            "failures": dict(self.batches.failures)}

  def _listen(self) -> None:
    """A polite end (SIGTERM, as pre-emption sends it) saves before it stops."""

    def ask(signum, frame):
      self.stop_asked = True

    if jax.process_count() == 1:
      try:
        signal.signal(signal.SIGTERM, ask)
      except ValueError:
        pass  # not in the main thread

  def _due(self, epochs: float, step: int, at_end: bool = True) -> bool:
    """Whether `epochs` more epochs are complete at this step."""
    if at_end and step == self.last_step:
      return True
    period = epochs * self.run_.steps_per_epoch
    return period > 0 and math.floor(step / period) > math.floor((step - 1) / period)

  def _read(self, keep: int = 0) -> None:
    """Reads the figures of all but the newest `keep` steps and checks their losses."""
    while len(self.pending) > keep:
      step, ids, waited, metrics = self.pending.popleft()
      figures = step_lib.summary(jax.device_get(metrics))
      if not np.isfinite(figures.get("loss", 0.0)):
        self.saves.wait()
        kept = self.saves.latest()
        raise errors.UserError(
            f"the loss of step {step} is {figures['loss']}; its batch: {', '.join(map(str, ids))}; last good"
            f" checkpoint: {'step ' + str(kept) if kept is not None else 'none'} in {self.saves.folder}."
            " Lower schedule.peak, or set optimizer.clip_norm.")
      self.recent.append((time.perf_counter(), waited))
      seconds = max(1e-9, self.recent[-1][0] - self.recent[0][0])
      rate = (len(self.recent) - 1) * self.run_.config.train.batch_size / seconds
      wait = sum(w for _, w in list(self.recent)[1:])
      figures.update(epoch=step / self.run_.steps_per_epoch, data_wait=min(1.0, wait / seconds))
      figures[f"{self.run_.unit}_per_s"] = rate
      if self.utilization is not None:
        figures["mfu"] = self.utilization * rate * self.run_.config.train.seeds
      shown = step % max(1, self.run_.config.train.log_every) == 0
      self.log.write(step, "train", figures, board=shown)
      eta = (self.last_step - step) * self.run_.config.train.batch_size / rate
      self.console.step(step, {**figures, "eta": eta})

  def _restart_clock(self) -> None:
    """Speed is measured from here on: nothing but training steps belongs to it."""
    self.recent.clear()
    self.recent.append((time.perf_counter(), 0.0))

  def _evaluate(self, state, step: int) -> dict[str, float]:
    run, config = self.run_, self.run_.config
    if self.evaluator is None:
      self.evaluator = evaluate.Evaluator(run.model, run.task, mesh=run.mesh, config=config, dtype=run.dtype,
                                          seeds=config.train.seeds)
    result = self.evaluator(state.variables(), self.val_set, clips=config.eval.clips, crops=config.eval.crops,
                            batch_size=config.eval.batch_size)
    self.metrics = {k: float(v) for k, v in result.metrics.items()}
    self.metrics.update({f"{k}/std": float(v) for k, v in result.deviations.items()})
    self.log.write(step, "val", {"epoch": step / run.steps_per_epoch, **self.metrics, "videos": result.evaluated,
                                 "decode_failures": sorted(result.failures)})
    best = run.task.best_metric
    shown = "  ".join(f"{k} {results.figure(k, results.number(v))}" for k, v in self.metrics.items()
                      if k in ("loss", best, *run.task.headlines))
    self.console.say(f"step {step}, epoch {step / run.steps_per_epoch:.1f}: {config.data.val_split} {shown}"
                     f" ({result.evaluated} videos)")
    return self.metrics


def _count(params: Any) -> int:
  return sum(int(np.prod(p.shape)) for p in jax.tree.leaves(params))


def _claim(config: ConfigDict, workdir: str, train_set: Dataset, val_set: Dataset, main: bool) -> None:
  """Takes a fresh workdir, or checks that an existing one is of this config and data."""
  path = os.path.join(workdir, "config.json")
  if os.path.exists(path):
    with open(path, encoding="utf-8") as f:
      old = config_lib.from_json(f.read())
    changed = [d for d in config_lib.differences(old, config_lib.from_json(config_lib.to_json(config)))
               if not d.startswith(FREE_KEYS)]
    if changed:
      raise errors.CheckpointError(
          f"{workdir} belongs to another config ({'; '.join(changed[:3])}{'; ...' if len(changed) > 3 else ''});"
          " choose another --workdir, or the config that it was started with.")
    _same_data(workdir, train_set, val_set)
  if not main:
    return
  try:
    os.makedirs(workdir, exist_ok=True)
    if not os.path.exists(path):
      writing.write_text(path, config_lib.to_json(config))
      writing.write_json(os.path.join(workdir, "classes.json"), records.class_names(train_set))
      writing.write_json(os.path.join(workdir, "provenance.json"), provenance.describe(
          data={s.split: _described(s) for s in (train_set, val_set)}))
  except OSError as e:
    raise errors.UserError(f"cannot write to workdir {workdir}: {e.strerror}.") from e


def _described(split: Dataset) -> dict[str, Any]:
  """What provenance.json says of a split."""
  return {"fingerprint": split.fingerprint(), "videos": len(split), "missing": len(split.missing)}


def _same_data(workdir: str, train_set: Dataset, val_set: Dataset) -> None:
  """Checks that the data is what a run began with, as its classes.json and provenance.json say.

  Raises:
    CheckpointError: classes or videos are others.
  """
  remedy = ("; bring the data back as it was, or begin another --workdir (with --config.train.init_from="
            f"{workdir} from where this one is).")
  before, now = _kept(workdir, "classes.json"), records.class_names(train_set)
  if before is not None and before != now:
    each = [(before.get(name), now.get(name), f" of target '{name}'") for name in {**before, **now}] if (
        isinstance(before, dict) and isinstance(now, dict)) else [(before, now, "")]
    old, new, of = next((pair for pair in each if pair[0] != pair[1]))
    first = next((f"class {i} was '{a}' and is '{b}'" for i, (a, b) in enumerate(zip(old or (), new or ())) if a != b),
                 f"there were {len(old or ())} and are {len(new or ())}")
    raise errors.CheckpointError(f"{workdir} was trained on other classes{of}: {first}{remedy}")
  for split in (train_set, val_set):
    kept = ((_kept(workdir, "provenance.json") or {}).get("data") or {}).get(split.split)
    found = _described(split)
    if kept is not None and kept.get("fingerprint") != found["fingerprint"]:
      counts = (f"{kept.get('videos')} videos and are {found['videos']}" if kept.get("videos") != found["videos"] else
                f"as many, {found['videos']}, but other names, labels, spans or sizes of files")
      raise errors.CheckpointError(f"{workdir} was trained on other data: of split '{split.split}' there were {counts}"
                                   f"{remedy}")


def _kept(workdir: str, name: str) -> Any:
  """A JSON file of a workdir, None where it is absent or damaged."""
  try:
    with open(os.path.join(workdir, name), encoding="utf-8") as f:
      return json.load(f)
  except (OSError, ValueError):
    return None


def _first_state(run: Run, saves: checkpoint.Checkpointer, workdir: str, main: bool):
  """(state, pipeline state or None, step) from the last checkpoint, another run, or nothing."""
  latest = saves.latest()
  if latest is not None:
    state, data_state = saves.restore(latest, run.abstract, run.shardings)
    return state, data_state, state.step_number()
  state = run.init()
  if run.config.train.init_from:
    state, reports = warm_start.start(state, run.shardings, run.config.train.init_from,
                                      run.config.train.init_exclude, getattr(run.model, "adopt", None))
    if main:
      writing.write_json(os.path.join(workdir, "init.json"), reports)
      print("\n".join(warm_start.summary(reports)), flush=True)
  return state, None, 0
