"""Evaluation of a trained run: metrics, a result file, and what samplers save."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import Any

import jax

from vidx import errors, tasks
from vidx.data import examples, pipeline, records
from vidx.infer import judges as judges_lib, load, results, savings, submission as submission_lib
from vidx.train import build
from vidx.train import evaluator as evaluator_lib


def evaluate_workdir(workdir: str, split: str = "", *, clips: int = 1, crops: int = 1,
                     step: int | str | None = None, batch_size: int | None = None,
                     overrides: Sequence[str] = (), submission: str = "", supervision: Sequence[int] = (),
                     judges: str = "") -> dict[str, Any]:
  """Evaluates a trained run, prints its metrics and writes WORKDIR/eval/<split>-<clips>x<crops>.json.

  Args:
    workdir: of a run.
    split: of its data set; empty for the split that training evaluated on.
    clips: temporal clips per video.
    crops: spatial crops per clip: 1, 3 or 5.
    step: which checkpoint, as in `load_checkpoint`.
    batch_size: videos per batch; None for that of the config.
    overrides: `section.key=value` texts over the run's config.
    submission: file for the server of a challenge, .json or .zip; '': none.
    supervision: see `vidx.infer.submission.write`.
    judges: of runs that make images, see `vidx.infer.judges.Judges`.

  Returns:
    What the file holds (see vidx/infer/results.py).

  Raises:
    ConfigError: several clips or crops of a run that takes each example whole, such as features.
    DataError: more than `data.max_failures` of the videos cannot be decoded; the file is written all the same.
  """
  made = judges_lib.Judges(judges) if judges else None
  found = of_workdir(workdir, split, clips=clips, crops=crops, step=step, batch_size=batch_size, overrides=overrides,
                     check=lambda task: (submission and submission_lib.check(task, tuple(supervision)),
                                         made and made.check(task)))
  described, lines = results.describe(found.result, found.task, found.protocol, found.step), []
  if made:
    described["metrics"] |= made(found.result.predictions)
    described["judges"] = made.names
    lines = [f"{metric} by {name}" for metric, name in made.names.items()]
  if jax.process_index() == 0:
    path = results.write(described, workdir)
    others = results.write_files(found.result, found.task, path)
    print("\n".join([*results.lines(described), *lines]), flush=True)
    if submission:
      print(submission_lib.write(found.result, found.task, submission, tuple(supervision)), flush=True)
    saved = savings.of_split(found.loaded, found.result.dataset, batch_size or found.loaded.config.eval.batch_size) if (
        jax.process_count() == 1) else None
    if saved:
      described["savings"] = saved.to_json()
      results.write(described, workdir)
      print("\n".join(saved.lines()), flush=True)
    print(f"written to {', '.join([path, *others])}", flush=True)
  limit = found.loaded.config.data.max_failures
  pipeline.check_failures(found.result.failures, found.result.videos, limit)
  return described


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """A run's result, its task, how it was made (see vidx/infer/results.py), of which step, and the run."""

  result: evaluator_lib.EvalResult
  task: Any
  protocol: dict[str, Any]
  step: int
  loaded: Any


def of_workdir(workdir: str, split: str = "", *, clips: int = 1, crops: int = 1, step: int | str | None = None,
               batch_size: int | None = None, overrides: Sequence[str] = (), check: Callable[[Any], Any] = bool
               ) -> Evaluated:
  """Evaluates a trained run whose task passes a check; see `evaluate_workdir`."""
  loaded = load.load_checkpoint(workdir, step, overrides)
  check(loaded.task)
  config = loaded.config
  dataset = records.aligned(build.load_split(config, split or config.data.val_split), loaded.targets)
  task = build.with_words(tasks.from_config(config.task.to_dict(), dataset), config)
  mesh = load.make_mesh(config)
  examples.with_feature_size(config.data, dataset)
  protocol = results.protocol(config, dataset, clips=clips, crops=crops, dtype=loaded.dtype)
  if protocol["views"] == "whole" and (clips, crops) != (1, 1):
    raise errors.ConfigError(f"views {clips or 'all'}x{crops} change nothing for system '{config.system.name}', which"
                             " takes each example whole; leave --views out.")
  evaluator = evaluator_lib.Evaluator(loaded.model, task, mesh=mesh, config=config, dtype=loaded.dtype,
                        seeds=1 if loaded.members is None else config.train.seeds)
  result = evaluator(loaded.variables if loaded.members is None else loaded.members, dataset, clips=clips, crops=crops,
                     batch_size=batch_size or config.eval.batch_size)
  return Evaluated(result, task, protocol, loaded.step, loaded)
