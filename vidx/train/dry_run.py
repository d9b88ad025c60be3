"""What a config would do, tried without a workdir: reads, builds, compiles and takes two steps."""

import tempfile
import time

import jax
from ml_collections import ConfigDict

from vidx.data import batch as batch_lib, pipeline
from vidx.terminal import counted
from vidx.train import (
    build, config as config_lib, evaluator, memory, sharding, step as step_lib, warm_start, workdirs, writers)


def dry_run(config: ConfigDict, runs: str = "") -> dict[str, float]:
  """Reads the data, builds and compiles the train step, and takes it twice; keeps nothing.

  What `data.cache` and `data.phrases.codes` would keep is made in the step.

  Args:
    config: complete config.
    runs: folder of the earlier stages of a recipe.

  Returns:
    {'parameters', 'bytes' (of a step beside its arguments), 'compile_s', 'batch_s', 'step_s', 'loss'}.

  Raises:
    UserError: config or data that cannot be used, or memory that does not suffice.
  """
  config_lib.check(config)
  config_lib.with_runs(config, runs)
  config.data.cache = config.data.phrases.codes = ""
  with tempfile.TemporaryDirectory(prefix="vidx-dry-run-") as folder:
    return _dry_run(config, folder)


def _dry_run(config: ConfigDict, folder: str) -> dict[str, float]:
  """`dry_run` with a folder for what a workdir would hold."""
  train_set, val_set = build.load_splits(config)
  run = build.build(config, train_set)
  if build.reads_texts(run):
    workdirs.make_vocabulary(config, folder, train_set)
    run = build.with_vocabulary(run, train_set)
  print(run.told(train_set, val_set), flush=True)
  memory.check_state(run.abstract, run.shardings, config)
  if config.train.init_from:
    state, reports = warm_start.start(run)
    lines = warm_start.summary(reports) + warm_start.pixels(config.train.init_from, config.data)
    print("\n".join(lines), flush=True)
  else:
    state = run.init()
  evaluator.check(run, val_set)
  batches = pipeline.train_batches(
      train_set, config.data, batch_size=config.train.batch_size, seed=config.seed,
      process=sharding.share(run.mesh), wanted=batch_lib.wanted(run.model, run.task))
  try:
    began = time.perf_counter()
    batch = next(batches)
    read = time.perf_counter()
    placed = sharding.put_batch(batch, run.mesh)
    step = run.step()
    needed = memory.compile_step(step, state, placed, config, lambda text: print(text, flush=True))
    compiled = time.perf_counter()
    for _ in range(2):  # the first one may still fill caches
      once = time.perf_counter()
      state, metrics = step(state, placed)
      loss = step_lib.summary(jax.device_get(metrics)).get("loss", float("nan"))
      took = time.perf_counter() - once
  except (jax.errors.JaxRuntimeError, MemoryError) as e:
    raise memory.explained(e, config) from e
  finally:
    batches.close()
  print(f"first batch after {read - began:.1f} s, compiled in {compiled - read:.1f} s, {took:.2f} s per step,"
        f" {needed / 2**30:.2f} GiB beside the parameters; {counted(run.last_step, 'step')} in"
        f" {writers.clock(run.last_step * took)} without evaluation. Nothing was written.", flush=True)
  return {"parameters": run.parameters, "bytes": needed, "compile_s": compiled - read, "batch_s": read - began,
          "step_s": took, "loss": loss}
