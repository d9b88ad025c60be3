"""Late fusion: the scores of several runs on the same videos, averaged with weights.

Two streams, of frames and of optical flow, are two runs; so are an ensemble of
clips of 8 and of 16 frames. Each run is evaluated as its own config says.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from vidx import errors
from vidx.data.records import LABEL
from vidx.infer import evaluate, results, submission as submission_lib
from vidx.terminal import counted
from vidx.train import evaluator
from vidx.train.evaluator import EvalResult


def fused(runs: Sequence[EvalResult], weights: Sequence[float], fusable: Mapping[str, str]
          ) -> EvalResult:
  """The videos that every run could decode, with the weighted mean of their scores and losses.

  Args:
    runs: of the same split; classes may be in another order.
    weights: one per run, not all 0.
    fusable: see `Task.fusable`: predictions (N, C), and the target whose classes they score.

  Returns:
    A result in the first run's classes and order of videos; its failures are those of all.

  Raises:
    DataError: the runs have other classes or other videos.
  """
  first = runs[0]
  place = {record.id: i for i, record in enumerate(first.dataset.records)}
  rows = []
  for run in runs:
    for target in set(fusable.values()):
      own, theirs = (r.dataset.targets[target].classes for r in (first, run))
      if sorted(theirs) != sorted(own):
        raise errors.DataError(f"runs of {len(own)} and {counted(len(theirs), 'class')} that are not the same cannot be"
                               " fused.")
    ids = [run.dataset.records[i].id for i in run.predictions["index"]]
    strange = next((i for i in ids if i not in place), None)
    if strange is not None or len(run.dataset) != len(first.dataset):
      raise errors.DataError(f"the runs were evaluated on other videos ({strange or len(run.dataset)}"
                             f" beside {len(first.dataset)}): give them the same data and split.")
    rows.append({place[name]: row for row, name in enumerate(ids)})
  index = np.array(sorted(set.intersection(*map(set, rows))), np.int32)
  mean = lambda parts: np.tensordot(np.asarray(weights, np.float64) / np.sum(weights), np.stack(parts), 1)
  chosen = [[found[i] for i in index] for found in rows]
  predictions = {k: v[chosen[0]] for k, v in first.predictions.items() if k.partition("/")[0] in (LABEL, "labelled")}
  predictions |= {"index": index, "loss": mean([run.predictions["loss"][own] for run, own in zip(runs, chosen)])}
  for key, target in fusable.items():
    names = first.dataset.targets[target].classes
    orders = [[run.dataset.targets[target].classes.index(name) for name in names] for run in runs]
    predictions[key] = mean([run.predictions[key][own][:, order] for run, own, order in zip(runs, chosen, orders)])
  failures = {name: reason for run in reversed(runs) for name, reason in run.failures.items()}
  return dataclasses.replace(first, predictions=predictions, failures=failures)


def evaluate_fused(workdirs: Sequence[str], weights: Sequence[float] = (), split: str = "", submission: str = "",
                   supervision: Sequence[int] = (), **options) -> dict[str, Any]:
  """Evaluates runs and their fusion, prints the metrics of each, writes FIRST/eval/<split>-<clips>x<crops>-fused.json.

  Args:
    workdirs: of the runs.
    weights: of their scores; equal ones by default.
    split: of their data set; empty for that which the first one was evaluated on.
    submission: of the fused scores, see `evaluate_workdir`.
    supervision: see `evaluate_workdir`.
    **options: of `evaluate_workdir`.

  Returns:
    What the file holds (see vidx/infer/results.py), and as `fused` the runs: [{workdir,
    weight, step, protocol}].
  """
  weights = tuple(weights) or (1.0,) * len(workdirs)
  if len(weights) != len(workdirs) or min(weights) < 0 or not sum(weights):
    raise errors.ConfigError(f"--weights={','.join(f'{w:g}' for w in weights)}: {len(workdirs)} runs need as many"
                             " weights, none below 0 and one above.")
  found = []
  for workdir in workdirs:
    found.append(evaluate.of_workdir(workdir, split, **options, check=lambda task: submission and submission_lib.check(
        task, tuple(supervision))))
    split = found[0].result.dataset.split
  first = found[0]
  fusable = first.task.fusable
  if not fusable or any(f.task.fusable.keys() != fusable.keys() for f in found):
    raise errors.ConfigError(f"{workdirs[0]}: its task gives no scores of videos that could be averaged.")
  result = fused([f.result for f in found], weights, fusable)
  metrics, details = evaluator.figures(first.task, result.predictions)
  result = dataclasses.replace(result, metrics=metrics, details=details)
  protocol = {**first.protocol, "scores": "weighted mean of the runs' scores",
              "runs": ", ".join(f"{weight:g} x {w}" for w, weight in zip(workdirs, weights))}
  described = {**results.describe(result, first.task, protocol, first.step),
               "fused": [{"workdir": w, "weight": float(weight), "step": f.step, "protocol": f.protocol}
                         for w, weight, f in zip(workdirs, weights, found)]}
  if jax.process_index() == 0:
    for workdir, f in zip(workdirs, found):
      figure = f.result.metrics[f.task.best_metric]
      print(f"{workdir}: {f.task.best_metric} {figure:.1f} ({f.result.evaluated} of"
            f" {counted(f.result.videos, 'video')})")
    lines = [submission_lib.write(result, first.task, submission, tuple(supervision))] if submission else []
    path = results.write(described, workdirs[0], "-fused")
    print("\n".join([*results.lines(described), *lines, f"written to {path}"]), flush=True)
  return described
