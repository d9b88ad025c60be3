"""What a run logged, as plots: its own curves, those of several runs, and what its task changes or compares."""

from collections.abc import Mapping, Sequence
import json
import os
from typing import Any

import numpy as np

from vidx import errors, tasks, writing
from vidx.data import examples
from vidx.show import plots

RATES = {f"{unit}_per_s": f"{unit} per second" for unit in examples.UNITS}
LABELS = {"lr": "learning rate", **RATES, "grad_norm": "gradient norm"}
_Row = Mapping[str, Any]


def rows(workdir: str) -> list[dict[str, Any]]:
  """The lines of a run's metrics.jsonl; a last line that was cut off is left out."""
  path, found = os.path.join(workdir, "metrics.jsonl"), []
  if os.path.exists(path):
    with open(path, encoding="utf-8", errors="replace") as f:
      for line in f:
        try:
          found.append(json.loads(line))
        except (ValueError, RecursionError):
          continue
  return found


def curves(logged: Sequence[_Row], config: _Row, headlines: Sequence[str]) -> list[tuple[str, str]]:
  """(title, svg) of what a run logged.

  Args:
    logged: its `rows`.
    config: of the run.
    headlines: metrics that its evaluations name first; those of its task follow.
  """
  train, val = ([r for r in logged if r["split"] == s] for s in ("train", "val"))
  made = []

  def plot(title, series, **options):
    series = {k: v for k, v in series.items() if v[0]}
    if series:
      made.append((title, plots.curves(series, xlabel="epoch", **options)))

  plot("loss", {"training": values(train, "loss"), "validation": values(val, "loss")}, dots=["validation"])
  metrics = [k for k in dict.fromkeys([*headlines, *_headlines(config)]) if any(k in r for r in val)]
  shares = [k for k in metrics if writing.unit(k) == "%"]
  plot("validation accuracy, %" if "mAP" not in metrics else "validation mAP, %",
       {k: values(val, k) for k in shares}, dots=shares, percent=True)
  for name in metrics:
    if name not in shares:
      plot(_validation(name), {name: values(val, name)}, dots=[name])
  for name in LABELS:
    plot(LABELS[name], {LABELS[name]: values(train, name)})
  plot("model FLOPs utilization (bf16), %", {"utilization": values(train, "mfu", 100.0)})
  plot("waiting for data, % of the time", {"wait": values(train, "data_wait", 100.0)}, percent=True)
  return made + _of_task(train, config)


def values(logged: Sequence[_Row], name: str, scale: float = 1.0) -> tuple[list[float], list[float]]:
  """Epochs, or steps where there are none, and what was logged then by a name."""
  some = [r for r in logged if isinstance(r.get(name), (int, float))]
  return [r.get("epoch", r["step"]) for r in some], [scale * r[name] for r in some]


def _validation(name: str) -> str:
  """The title of the curve of a metric."""
  return f"validation {name}, {writing.unit(name)}".rstrip(", ")


def check_beside(configs: Mapping[str, _Row]) -> None:
  """Raises ConfigError where the task of a run has no metric in common with that of the first; both are named.

  Args:
    configs: of the runs by their workdirs; {} where it is not known.
  """
  own, *rest = configs.items()
  for workdir, config in rest:
    if not _shared(own[1], config) and _headlines(own[1]):
      of = [f"of task '{c['task']['name']}' ({', '.join(_headlines(c))})" for c in (own[1], config)]
      raise errors.ConfigError(f"--against={workdir}: a run {of[1]} has no metric in common with {own[0]}, {of[0]}:"
                               " name a run that learned the same.")


def beside(configs: Mapping[str, _Row]) -> list[tuple[str, str]]:
  """(title, svg) of the curves of several runs on one plot each: the loss, and of each other run the first metric of
  the first run that it has, too.

  Args:
    configs: see `check_beside`.
  """
  of = dict(zip(_short(list(configs)), map(rows, configs)))
  own, *rest = configs.values()
  metrics = dict.fromkeys(name for config in rest for name in _shared(own, config)[:1])
  kinds, made = {"train": "training", "val": "validation"}, []
  for title, name, splits in (("loss", "loss", ("train", "val")), *((_validation(k), k, ("val",)) for k in metrics)):
    series = {f"{run}, {kinds[split]}": values([r for r in logged if r["split"] == split], name)
              for run, logged in of.items() for split in splits}
    if any(y for _, y in series.values()):
      made.append((title, plots.curves(series, xlabel="epoch", dots=[k for k in series if k.endswith(kinds["val"])],
                                       colours=np.repeat(plots.COLOURS, len(splits)).tolist())))
  return made


def _shared(own: _Row, other: _Row) -> list[str]:
  """The headlines of a run that another one may have, too: all, where its task is not known."""
  theirs = _headlines(other)
  return [name for name in _headlines(own) if name in theirs or not theirs]


def _short(workdirs: Sequence[str]) -> list[str]:
  """What runs are called: the last parts of their paths, as many as tell them apart."""
  parts = [os.path.abspath(w).split(os.sep) for w in workdirs]
  for n in range(1, max(map(len, parts)) + 1):
    names = [os.path.join(*p[-n:]) for p in parts]
    if len(set(names)) == len(set(map(tuple, parts))):
      break
  return names


def _headlines(config: _Row) -> tuple[str, ...]:
  return tasks.headlines(config.get("task", {}).get("name", ""))


def _of_task(train: Sequence[_Row], config: _Row) -> list[tuple[str, str]]:
  """(title, svg) of what a task schedules, and of the losses that it asks to be compared."""
  if config.get("task", {}).get("name") not in tasks.names() or not train:
    return []
  task, made = tasks.from_config(config["task"]), []
  for name, (title, scheduled) in task.schedules.items():
    step, epoch = train[-1]["step"], train[-1]["epoch"]
    total = config["train"]["max_steps"] or round(config["schedule"]["epochs"] * step / epoch)
    made.append((name, plots.curves({title: (np.arange(1, total + 1) * epoch / step, scheduled(total)),
                                     "as logged": values(train, name)}, xlabel="epoch")))
  for first, second in task.scattered:
    x, y = np.array([(r[first], r[second]) for r in train if np.isfinite([r.get(first, np.nan), r.get(second, np.nan)]
                                                                       ).all()]).reshape(-1, 2).T
    if len(x) > 2 and x.std() and y.std():
      made.append((f"{second} over {first}, from the first step (pale) to the last: correlation"
                   f" {np.corrcoef(x, y)[0, 1]:.2f}", plots.scatter(x, y, xlabel=first, ylabel=second)))
  return made
