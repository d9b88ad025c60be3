"""The training loop: one, for every system and task."""

import collections
from collections.abc import Mapping
import dataclasses
import math
import os
import time
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx import terminal, writing
from vidx.data import batch as batch_lib, pipeline, records
from vidx.measure import peak
from vidx.terminal import counted
from vidx.train import build, cache, checkpoint, config as config_lib, evaluator, lock as lock_lib, memory
from vidx.train import phrase_codes, precise_bn, sharding, state as state_lib, step as step_lib, stop, warm_start
from vidx.train import workdirs, writers


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
    Unfinished: SIGTERM or Ctrl-C ended the run after a step, which is saved.
  """
  if not workdir:
    raise errors.ConfigError("no workdir: add --workdir=FOLDER, where the run is kept.")
  config_lib.check(config)
  config_lib.with_runs(config, runs)
  main = jax.process_index() == 0
  train_set, val_set = build.load_splits(config, main)
  run = build.build(config, train_set)  # what it refuses leaves nothing behind
  memory.check_state(run.abstract, run.shardings, config)
  sources = [] if workdirs.trained(workdir) else warm_start.read(config)
  warm_start.check(run, sources)
  if not _prepares(run):
    evaluator.check(run, val_set)
  with lock_lib.hold(workdir, main) as lock:
    workdirs.claim(config, workdir, train_set, val_set, main, run)
    return _train(run, workdir, train_set, val_set, profile, main, lock, sources)


def _prepares(run: build.Run) -> bool:
  """Whether examples take what is made once the workdir is claimed: a vocabulary, or what is kept of each."""
  data = run.config.data
  return build.reads_texts(run) or bool(data.cache or data.phrases.codes)


def _train(run: build.Run, workdir: str, train_set: records.Dataset, val_set: records.Dataset, profile: bool,
           main: bool, lock: lock_lib.Lock, sources: list[Any]) -> dict[str, Any]:
  """`train` once the workdir is this run's; `sources` are what it starts from, and are let go."""
  config = run.config
  if build.reads_texts(run):
    workdirs.make_vocabulary(config, workdir, train_set, main)
    run = build.with_vocabulary(run, train_set)
    workdirs.keep_vocabulary(config, workdir, main)
  saves = checkpoint.Checkpointer(workdir, config.checkpoint.keep_last, config.checkpoint.keep_best,
                                  metric="_best")
  for name in saves.unfinished:
    print(f"removed the half-written checkpoint {name}", flush=True)
  if main and saves.notes:
    print("\n".join(saves.notes), flush=True)
  state, data_state, start = _first_state(run, saves, workdir, main, sources)
  sources.clear()
  last_step = run.last_step
  if start >= last_step:
    print(_nothing_left(workdir, start, run.total_steps, config.train.max_steps), flush=True)
    saves.close()
    return {"step": start, "metrics": {}, "best_step": saves.best(), "failures": {}}
  if config.data.cache:
    cache.fill(run, state, (train_set, val_set), main)
  if config.data.phrases.codes:
    phrase_codes.fill(run, state, (train_set, val_set), main)
  if _prepares(run):
    evaluator.check(run, val_set)
  batches = pipeline.train_batches(
      train_set, config.data, batch_size=config.train.batch_size, seed=config.seed, start=start,
      process=sharding.share(run.mesh), wanted=batch_lib.wanted(run.model, run.task))
  if data_state:
    batches.set_state(data_state)
  log = writers.Writers(workdir, main, start)
  console = writers.Console(last_step, start, main, config.train.log_every)
  console.say(run.told(train_set, val_set, start))
  for line in memory.advice(config, run.parameters, run.count(train_set), run.pixels and not start, run.videos):
    console.say(line)
  with stop.Listener() as listener:
    try:
      loop = _Loop(run, saves, batches, train_set, val_set, log, console, last_step, profile, lock, listener)
      result = loop.run(state, start)
    except OSError as e:
      raise checkpoint.explained(e, workdir) from e
    except (jax.errors.JaxRuntimeError, MemoryError) as e:
      raise stop.of_others(memory.explained(e, config)) from e
    finally:
      batches.close()
      console.close()
      log.close()
      saves.close()
    failures = result["failures"] = sharding.gather_dict(result["failures"])
    if main:
      for line in failure_lines(failures):
        print(line, flush=True)
      if result["step"] >= last_step:
        lock.check()
        writing.write_json(os.path.join(workdir, "DONE.json"), result)
    if result["step"] < last_step:
      raise stop.Unfinished(f"stopped at step {result['step']} of {last_step}, which is saved; the same command goes on"
                            " from there.")
    return result


def failure_lines(failures: Mapping[str, str]) -> list[str]:
  """One line per file that could not be decoded."""
  if not failures:
    return []
  return [f"left out {counted(len(failures), 'file')} that could not be decoded:"] + [
      terminal.line(f"  {name}: {reason}") for name, reason in sorted(failures.items())]


class _Loop:
  """The state of a running loop; `run` is the loop itself."""

  def __init__(self, run, saves, batches, train_set, val_set, log, console, last_step, profile, lock, listener):
    self.run_, self.saves, self.batches, self.train_set, self.val_set = run, saves, batches, train_set, val_set
    self.log, self.console, self.last_step, self.profile = log, console, last_step, profile
    self.lock, self.listener = lock, listener
    self.pending = collections.deque()  # steps whose figures were not read yet
    # When recent steps were read, and the seconds that each waited for its batch; the first one also compiles, and only
    # starts the clock.
    self.recent = collections.deque(maxlen=1 + max(10, run.config.train.log_every))
    self.metrics, self.evaluator, self.statistics = {}, None, None
    # Whole videos differ in length, and so in what they cost; of what is kept nothing is computed.
    self.utilization = peak.utilization(run.model, run.inputs, list(run.mesh.devices.flat)) if (
        run.pixels and not run.config.data.cache) else None

  def run(self, state, start: int) -> dict[str, Any]:
    config, run = self.run_.config, self.run_
    step_fn = run.step()
    done = start
    if config.schedule.name == "plateau" and not start:
      self._check_monitor(state)
    for step in range(start + 1, self.last_step + 1):
      if self.profile and step == min(start + 4, self.last_step):
        jax.profiler.start_trace(os.path.join(self.lock.workdir, "profile"))
      waited = time.perf_counter()
      batch = next(self.batches)
      waited = time.perf_counter() - waited
      self._read(keep=1)
      sharded = sharding.put_batch(batch, run.mesh)
      if step == start + 1:
        memory.compile_step(step_fn, state, sharded, config, self.console.say)
      state, metrics = step_fn(state, sharded)
      self.pending.append((step, batch["id"], waited, metrics))
      done = step
      if self.profile and step == min(start + 9, self.last_step):
        jax.block_until_ready(metrics)
        jax.profiler.stop_trace()
      stopped = self.listener.due(step) and step < self.last_step
      last = stopped or step == self.last_step
      evaluated = None
      if not stopped and self._due(config.eval.every_epochs, step):
        self._read()
        if config.train.precise_bn:
          state = self._precise(state, step)
        evaluated = self._evaluated(state, step)
        if config.schedule.name == "plateau" and self._due(config.eval.every_epochs, step, False):
          plateau = state_lib.on_plateau(
              state.plateau, state_lib.watched(evaluated, config.schedule.monitor or run.task.best_metric),
              config.schedule.factor, config.schedule.patience)
          state = state.replace(plateau=jax.device_put(plateau, run.shardings.plateau))
      every = config.checkpoint.every_steps
      if last or evaluated or (every and step % every == 0) or self._due(config.checkpoint.every_epochs, step, False):
        self._save(state, evaluated)
        if last:
          self.saves.wait()
        self._restart_clock()
      if stopped:
        break
    self._read()
    return {"step": done, "metrics": self.metrics, "best_step": self.saves.best(),
            "failures": dict(self.batches.failures)}

  def _save(self, state, evaluated: Mapping[str, float] | None) -> None:
    """Starts a save, with the figures of an evaluation where there was one."""
    self._read()  # never keep a state that came from a loss that is not finite
    self.lock.check()
    failures = sharding.gather_dict(self.batches.failures)
    pipeline.check_failures(failures, len(self.train_set), self.run_.config.data.max_failures)
    self.saves.save(state, self.batches.get_state(), evaluated, self.run_.task.best_metric)

  def _evaluated(self, state, step: int) -> dict[str, float]:
    """`_evaluate`; where it fails, what was trained is saved all the same."""
    try:
      return self._evaluate(state, step)
    except (errors.UserError, jax.errors.JaxRuntimeError, MemoryError):
      if jax.process_count() == 1:  # of several, others may wait in the evaluation
        self._save(state, None)
        self.saves.wait()
      raise

  def _check_monitor(self, state) -> None:
    """Raises ConfigError, before anything is trained, where no evaluation gives the figure of `schedule.monitor`."""
    run, name = self.run_, self.run_.config.schedule.monitor
    if name in ("", "loss", run.task.best_metric, *run.task.headlines):
      return
    few = dataclasses.replace(self.val_set, records=self.val_set.records[:run.config.eval.batch_size])
    for part in (few, self.val_set):  # a few may lack what others have
      found = self._result(state, part).metrics
      if name in found:
        return
    state_lib.watched(found, name)

  def _precise(self, state, step: int):
    """The state with batch statistics of the network as it is now."""
    run = self.run_
    if self.statistics is None:
      self.statistics = precise_bn.make_statistics(run.model, run.task, run.config, run.num_classes, run.dtype)
    return precise_bn.refreshed(state, self.statistics, self.train_set, run.config, run, step)

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
      figures["epoch"] = step / self.run_.steps_per_epoch
      speed = self._speed()
      figures.update(speed)
      shown = step % max(1, self.run_.config.train.log_every) == 0
      if shown:
        self.lock.check()
      self.log.write(step, "train", figures, board=shown)
      left = (self.last_step - step) * self.run_.config.train.batch_size
      self.console.step(step, {**figures, **({"eta": left / speed[f"{self.run_.unit}_per_s"]} if speed else {})})

  def _speed(self) -> dict[str, float]:
    """What recent steps say of speed; nothing before the second one."""
    seconds = max(1e-9, self.recent[-1][0] - self.recent[0][0])
    rate = (len(self.recent) - 1) * self.run_.config.train.batch_size / seconds
    if not rate:
      return {}
    wait = sum(w for _, w in list(self.recent)[1:])
    mfu = {} if self.utilization is None else {"mfu": self.utilization * rate * self.run_.config.train.seeds}
    return {"data_wait": min(1.0, wait / seconds), f"{self.run_.unit}_per_s": rate, **mfu}

  def _restart_clock(self) -> None:
    """Speed is measured from here on: nothing but training steps belongs to it."""
    self.recent.clear()
    self.recent.append((time.perf_counter(), 0.0))

  def _result(self, state, dataset: records.Dataset) -> evaluator.EvalResult:
    run, config = self.run_, self.run_.config
    if self.evaluator is None:
      self.evaluator = evaluator.Evaluator(run.model, run.task, mesh=run.mesh, config=config, dtype=run.dtype,
                                          seeds=config.train.seeds)
    return self.evaluator(state.variables(), dataset, clips=config.eval.clips, crops=config.eval.crops,
                          batch_size=config.eval.batch_size)

  def _evaluate(self, state, step: int) -> dict[str, float]:
    run, config = self.run_, self.run_.config
    result = self._result(state, self.val_set)
    self.metrics = {k: float(v) for k, v in result.metrics.items()}
    self.metrics.update({f"{k}/std": float(v) for k, v in result.deviations.items()})
    self.log.write(step, "val", {"epoch": step / run.steps_per_epoch, **self.metrics, "videos": result.evaluated,
                                 "decode_failures": sorted(result.failures)})
    best = run.task.best_metric
    shown = "  ".join(f"{k} {writing.figure(k, writing.number(v))}" for k, v in self.metrics.items()
                      if k in ("loss", best, *run.task.headlines))
    self.console.say(f"step {step}, epoch {step / run.steps_per_epoch:.1f}: {config.data.val_split} {shown}"
                     f" ({counted(result.evaluated, run.videos[:-1])})")
    return self.metrics


def _nothing_left(workdir: str, start: int, total: int, most: int) -> str:
  """The line where no step is left: `start` are done of the `total` of the schedule, and at most so many are wanted."""
  done = (f"{workdir} is finished after {counted(total, 'step')}." if start >= total else
          f"{workdir}: {start} of {counted(total, 'step')} done, and train.max_steps={most} asks for no more.")
  return f"{done} Next: vidx eval --workdir={workdir}"


def _first_state(run: build.Run, saves: checkpoint.Checkpointer, workdir: str, main: bool, sources: list[Any]):
  """(state, pipeline state or None, step) from the last checkpoint, another run, or nothing."""
  latest = saves.latest()
  if latest is not None:
    state, data_state = saves.restore(latest, run.abstract, run.shardings)
    return state, data_state, state.step_number()
  if not run.config.train.init_from:
    return run.init(), None, 0
  state, reports = warm_start.start(run, sources)
  if main:
    writing.write_json(os.path.join(workdir, "init.json"), reports)
    print("\n".join([*warm_start.summary(reports), *warm_start.pixels(run.config.train.init_from, run.config.data)]),
          flush=True)
  return state, None, 0
