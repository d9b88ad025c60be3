"""Checkpoints in a workdir: the only place that knows Orbax.

A checkpoint has three items: `model` (what evaluation needs: parameters, other
collections, averaged parameters), `trainer` (optimiser, step, key, plateau) and
`data` (the state of the input pipeline). Restoring always names the wanted
shapes and placements, so a checkpoint of eight devices opens on one.
"""

from collections.abc import Mapping
import glob
import logging
import math
import os
import shutil
import tempfile
from typing import Any

import jax
from jax.experimental import multihost_utils
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from vidx import errors
from vidx.train import integrity
from vidx.train.state import TrainState

FOLDER = "checkpoints"
_TEMPORARY = ".orbax-checkpoint-tmp"


def _items(state: TrainState) -> dict[str, Any]:
  return {
      "model": {"params": state.params, "stats": state.stats, "ema": state.ema},
      "trainer": {"step": state.step, "opt_state": state.opt_state, "key": state.key,
                  "plateau": state.plateau},
  }


def difference(stored: Any, wanted: Any) -> str:
  """Words on the first parameter, by name, that differs in name or shape between two trees; '' where none does."""
  flat = lambda tree: {jax.tree_util.keystr(k, simple=True, separator="/"): tuple(v.shape)
                       for k, v in jax.tree_util.tree_leaves_with_path(tree)}
  there, here = flat(stored), flat(wanted)
  for name in sorted(there.keys() | here.keys()):
    if there.get(name) != here.get(name):
      return f"parameter {name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
  return ""


def remove_unfinished(folder: str) -> list[str]:
  """Deletes checkpoints that a killed run left half-written; their names."""
  if not os.path.isdir(folder):
    return []
  found = sorted(n for n in os.listdir(folder) if _TEMPORARY in n)
  for name in found:
    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
  return found


class Checkpointer:
  """Saves in the background, keeps the last and the best, restores to any topology."""

  def __init__(self, workdir: str, keep_last: int = 2, keep_best: int = 1, metric: str = "",
               read_only: bool = False):
    self.folder = os.path.join(os.path.abspath(workdir), FOLDER)
    if read_only and not os.path.isdir(self.folder):
      raise errors.CheckpointError(f"{workdir} holds no checkpoints: train there first.")
    self._read_only = read_only
    main = not read_only and not jax.process_index()
    self._whole: set[int] = set()  # steps that were looked at
    self.unfinished = remove_unfinished(self.folder) if main else []
    self.notes = [] if read_only else self._in_order(main)
    self._sealer = integrity.Sealer(self.folder) if main else None
    self._plain = _PlainName(self.folder)
    policies = [checkpoint_managers.LatestN(n=max(1, keep_last))]
    score = lambda metrics: metrics.get(metric, float("-inf")) if metrics else float("-inf")
    if metric and keep_best:
      policies.append(checkpoint_managers.BestN(
          get_metric_fn=score, n=keep_best, keep_checkpoints_without_metrics=False))
    self._manager = _Manager(
        self._plain.path,
        options=ocp.CheckpointManagerOptions(
            create=not read_only, read_only=read_only, best_fn=score if metric else None,
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            enable_async_checkpointing=not read_only,
            lightweight_initialize=read_only),  # else a damaged file of metrics ends the reading of all others
        item_names=("model", "trainer", "data"))

  def _in_order(self, main: bool) -> list[str]:
    """Puts damaged checkpoints aside, and says so; every process comes to the same verdict before one moves them."""
    wrong = integrity.damages(self.folder)
    self._whole = set(integrity.steps(self.folder)) - wrong.keys()
    lines = [f"checkpoint {step} has no checksums: its writing was cut short, or they are lost; it is taken as it is"
             for step in integrity.unsealed(self.folder)]
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices("checkpoints are looked at")
    for step, reason in wrong.items() if main else ():
      lines.append(f"checkpoint {step} is damaged: {reason}; moved to {integrity.put_aside(self.folder, step)}")
    if wrong:
      lines.append(f"going on from step {max(self._whole)}")
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices("checkpoints are in order")
    return lines

  def latest(self) -> int | None:
    return self._manager.latest_step()

  def best(self) -> int | None:
    """Step of the best evaluation that is kept, None where no checkpoint has one."""
    scored = []
    for step in self._manager.all_steps():
      try:
        metrics = self._manager.metrics(step)
      except (FileNotFoundError, KeyError, ValueError):
        metrics = None
      value = (metrics or {}).get("_best")
      if value is not None:
        scored.append((value, step))
    return max(scored)[1] if scored else None

  def steps(self) -> list[int]:
    return sorted(self._manager.all_steps())

  def save(self, state: TrainState, data_state: Mapping[str, Any],
           metrics: Mapping[str, float] | None = None, best_metric: str = "") -> None:
    """Starts a save of `state` under its step; earlier checkpoints stay until it is complete."""
    items = _items(state)
    metrics = {k: float(v) for k, v in (metrics or {}).items()}
    if not math.isnan(metrics.get(best_metric, math.nan)):
      metrics["_best"] = metrics[best_metric]
    try:
      self._manager.save(
          state.step_number(),
          args=ocp.args.Composite(
              model=ocp.args.StandardSave(items["model"]),
              trainer=ocp.args.StandardSave(items["trainer"]),
              data=ocp.args.JsonSave(dict(data_state))),
          metrics=metrics or None, force=True)
    except Exception as e:  # the disk's errors arrive wrapped in several types
      raise explained(e, self.folder) from e
    self._expect(state.step_number())

  def save_variables(self, variables: Mapping[str, Any], step: int = 0) -> None:
    """Starts a save of what evaluation and a warm start need: nothing to go on training with."""
    stats = {k: v for k, v in variables.items() if k != "params"}
    try:
      self._manager.save(step, args=ocp.args.Composite(model=ocp.args.StandardSave(
          {"params": variables["params"], "stats": stats, "ema": {}})), force=True)
    except Exception as e:
      raise explained(e, self.folder) from e
    self._expect(step)

  def _expect(self, step: int) -> None:
    if self._sealer is not None:
      self._sealer.expect(step)

  def wait(self) -> None:
    """Returns when the running save is complete.

    Raises:
      CheckpointError: the disk is full; earlier checkpoints are intact.
    """
    try:
      self._manager.wait_until_finished()
    except Exception as e:
      raise explained(e, self.folder) from e
    finally:
      if self._sealer is not None:
        self._sealer.finish()

  def restore(self, step: int, state: TrainState, shardings: TrainState) -> tuple[TrainState, dict[str, Any]]:
    """The full state and the pipeline's state.

    Args:
      step: which checkpoint.
      state: abstract state (shapes and dtypes) of the run that resumes.
      shardings: where each array goes.

    Raises:
      CheckpointError: the checkpoint is of another architecture or optimiser.
    """
    self._check(step)
    target = jax.tree.map(
        lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), state, shardings)
    items = _items(target)
    problem = self._misfit(step, items["model"]["params"])
    if problem:
      raise errors.CheckpointError(problem)
    try:
      found = self._manager.restore(step, args=ocp.args.Composite(
          model=ocp.args.StandardRestore(items["model"]),
          trainer=ocp.args.StandardRestore(items["trainer"]),
          data=ocp.args.JsonRestore()))
    except (ValueError, KeyError, TypeError) as e:
      raise errors.CheckpointError(
          f"checkpoint {self.folder}/{step} does not fit this run"
          f" ({' '.join(str(e).split())[:200]}); use another workdir.") from e
    model, trainer = found["model"], found["trainer"]
    return TrainState(step=trainer["step"], params=model["params"], stats=model["stats"],
                      opt_state=trainer["opt_state"], ema=model["ema"], key=trainer["key"],
                      plateau=trainer["plateau"]), found["data"]

  def restore_variables(self, step: int) -> dict[str, Any]:
    """{'params', 'batch_stats', ...} on the default device, with averaged parameters where kept.

    Raises:
      CheckpointError: the checkpoint is damaged.
    """
    self._check(step)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=device),
                          self._shapes(step))
    try:
      found = self._manager.restore(
          step, args=ocp.args.Composite(model=ocp.args.StandardRestore(target)))["model"]
    except Exception as e:  # what a damaged file without checksums gives has no common type
      raise errors.CheckpointError(f"checkpoint {self.folder}/{step} cannot be restored"
                                   f" ({' '.join(str(e).split())[:200]}).") from e
    return {"params": found.get("ema") or found["params"], **(found.get("stats") or {})}

  def _check(self, step: int) -> None:
    """Raises CheckpointError where a checkpoint is damaged."""
    if step in self._whole:
      return
    if reason := integrity.damage(self.folder, step):
      others = [s for s in self.steps() if s != step and not integrity.damage(self.folder, s)]
      remedy = (f"choose another that is whole, such as step {others[-1]}" if others else
                "no other is whole: train anew, or bring back a copy")
      raise errors.CheckpointError(f"checkpoint {self.folder}/{step} is damaged: {reason}; {remedy}.")

  def _shapes(self, step: int) -> Any:
    """Shapes and dtypes of the item `model` as stored."""
    path = os.path.join(self.folder, str(step), "model")
    if not os.path.isdir(path):
      raise errors.CheckpointError(f"checkpoint {self.folder}/{step} does not exist.")
    try:
      with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        tree = reader.metadata(os.path.join(self._plain.path, str(step), "model"))
    except Exception as e:  # as in `restore_variables`
      raise errors.CheckpointError(f"checkpoint {self.folder}/{step} cannot be restored"
                                   f" ({' '.join(str(e).split())[:200]}).") from e
    tree = getattr(tree, "item_metadata", tree)
    return getattr(tree, "tree", tree)

  def _misfit(self, step: int, params: Any) -> str:
    """One line on the first parameter that differs in name or shape, or nothing."""
    differs = difference(self._shapes(step)["params"], params)
    return differs and (f"checkpoint {self.folder}/{step} is of another architecture: {differs};"
                        " use another workdir, or start from it with --config.train.init_from.")

  def close(self) -> None:
    """Ends the background work; what it could not complete is removed.

    Raises:
      CheckpointError: the disk is full.
    """
    try:
      self._manager.close()
    except Exception as e:
      raise explained(e, self.folder) from e
    finally:
      if self._sealer is not None:
        self._sealer.finish()
      if not self._read_only and not jax.process_index():
        remove_unfinished(self.folder)
      self._plain.close()


class _Known(logging.Filter):
  """Leaves out what Orbax warns of where a run is read that shall not be changed, which is as it should be."""

  _LINES = ("CheckpointManagerOptions.read_only=True", "Given directory is read only", "Metadata file does not exist")

  def filter(self, record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(self._LINES)


logging.getLogger("absl").addFilter(_Known())


class _Manager(ocp.CheckpointManager):
  """Leaves JAX's service for pre-emption to `stop.Listener`.

  The service keeps the last number that it was asked with, and settles on the next one. Orbax asks with steps, for its
  own log, and from the thread that ends a save with an earlier one: processes would settle on a number that has gone.
  """

  def reached_preemption(self, step: int) -> bool:
    del step
    return False


class _PlainName:
  """A path to a folder in which no part is taken for a pattern: Orbax looks for its own files by globs.

  Attributes:
    path: the folder itself, or a link to it in a temporary folder where its name has `[`, `*` or `?`.
  """

  def __init__(self, folder: str):
    self.path, self._temporary = folder, None
    if not glob.has_magic(folder):
      return
    os.makedirs(folder, exist_ok=True)
    self._temporary = tempfile.mkdtemp(prefix="vidx-checkpoints-")
    self.path = os.path.join(self._temporary, FOLDER)
    os.symlink(folder, self.path, target_is_directory=True)

  def close(self) -> None:
    """Removes the link."""
    if self._temporary is not None:
      shutil.rmtree(self._temporary, ignore_errors=True)


def explained(e: Exception, folder: str) -> Exception:
  """A CheckpointError where the disk is full, in whichever of its several types; else the error itself."""
  text = " ".join(str(e).split())
  if "No space left" in text or "ENOSPC" in text or getattr(e, "errno", None) == 28:
    return errors.CheckpointError(
        f"no space left on the disk of {folder}: the last save is incomplete and was dropped,"
        " earlier checkpoints are intact; free space and run the same command to resume.")
  return e
