"""The result file of an evaluation: protocol, metrics, tables and samples as JSON.

  protocol    how the numbers were made: split, views, sampling, sizes, precision
  step        of the checkpoint
  videos      in the split; `evaluated` of them, of which `labelled` count; `failures` [{id, reason}] the rest
  sound       of a system that hears: how many of `evaluated` have sound, {with, without, damaged}
  metrics     {name: value}; percent, except 'loss'
  per_class   [{name, n, accuracy}], for multi-label sets [{name, n, ap}]
  confusion   counts by [true][predicted]; single-label sets only
  seeds       [{name: value}] of each seed, where several were trained at once, and
              `deviations` {name: value}, standard deviations; `metrics` are means then
  per_class_of   the same tables of other targets, such as {verb: [...], noun: [...]}
  headline    the metric by which the best checkpoint was kept
  samples     [{id, media, span, ...}], at most `samples_limit`, with what the task shows
              of a video. Of scores {truth, top: [{label, score}], right}: all videos, or
              where there are more, the most confident mistakes and an even choice of the
              others. Of long videos {frames, truth, predicted: {read-out: [[label,
              frames], ...]}, confidence: [...], right}, right is the share of right frames
  judges      of runs that make images: {metric: which network gave it}
  savings     of a system with samplers, see vidx/infer/savings.py: multiply-accumulates
              and live counts with their distribution, and clips per second with and without

What is not defined (the accuracy of a class without videos) is null.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os
from typing import Any

import jax
from ml_collections import ConfigDict
import numpy as np

from vidx import writing
from vidx.data import examples
from vidx.data.records import LABEL, Dataset
from vidx.terminal import counted
from vidx.train.evaluator import EvalResult

SAMPLES_LIMIT = 1000


def protocol(config: ConfigDict, dataset: Dataset, *, clips: int, crops: int, dtype: Any) -> dict[str, Any]:
  """What a reader must know to repeat an evaluation."""
  data = config.data
  whole = {"views": "whole", "features": data.feature_size, "seeds": config.train.seeds}
  seen = {"views": "whole", "experts": [list(row) for row in data.experts], "captions": data.text.captions}
  views = {"views": f"{clips or 'all'}x{crops}", "clips": clips, "crops": crops,
           "scores": "mean over the views of a video", **({"rate": data.rate} if data.rate else {}),
           **({"flow": data.flow} if data.flow else {}), "sampler": data.sampler, "frames": data.frames,
           "consecutive": data.consecutive, "stride": data.stride, "short side": data.short_side,
           "crop": data.test_crop or data.crop}
  told = {"views": "whole", "tokens": data.text.length, "tokenizer": data.text.tokenizer}
  shown = next((s for s, of in ((whole, examples.of_features), (seen, examples.of_experts), (told, examples.of_texts))
                if of(dataset)), views)
  return {
      "system": config.system.name, "task": config.task.name,
      "data": dataset.name, "split": dataset.split, "fingerprint": dataset.fingerprint(),
      "missing files": len(dataset.missing), **shown,
      "precision": np.dtype(dtype).name,
      "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}", "processes": jax.process_count(),
  }


def describe(result: EvalResult, task, how: Mapping[str, Any], step: int) -> dict[str, Any]:
  """The content of the result file."""
  dataset, predictions = result.dataset, result.predictions
  details = result.details
  if details is None:
    details = task.details(predictions) if result.evaluated else {}
  tables = {name: _per_class(details, "" if name == LABEL else f"{name}/", target.classes)
            for name, target in dataset.targets.items()}
  return {
      "protocol": dict(how), "step": step,
      "videos": result.videos, "evaluated": result.evaluated, "labelled": result.labelled,
      "failures": [{"id": k, "reason": v} for k, v in sorted(result.failures.items())],
      **_heard(predictions),
      "metrics": {k: writing.number(v) for k, v in result.metrics.items()},
      **({"seeds": [{k: writing.number(v) for k, v in m.items()} for m in result.members],
          "deviations": {k: writing.number(v) for k, v in result.deviations.items()}} if result.members else {}),
      "headline": task.best_metric,
      "per_class": tables.pop(LABEL, []),
      **({"per_class_of": tables} if any(tables.values()) else {}),
      **({"confusion": details["confusion"].tolist()} if "confusion" in details else {}),
      "samples_limit": SAMPLES_LIMIT,
      "samples": samples(result, task),
  }


def _heard(predictions: Mapping[str, Any]) -> dict[str, Any]:
  """{'sound': {with, without, damaged}} of systems that take it."""
  if "audio_valid" not in predictions:
    return {}
  valid = np.asarray(predictions["audio_valid"])
  return {"sound": {"with": int((valid > 0).sum()), "without": int((valid == 0).sum()),
                    "damaged": int((valid < 0).sum())}}


def _per_class(details: Mapping[str, Any], prefix: str, classes: Sequence[str]) -> list[dict[str, Any]]:
  """[{name, n, accuracy or ap}] of one target."""
  figure = next((k for k in ("accuracy", "ap") if prefix + k in details), None)
  return [{"name": name, "n": int(n), figure: writing.number(value)} for name, n, value in
          zip(classes, details[prefix + "count"], details[prefix + figure])] if figure else []


def samples(result: EvalResult, task, limit: int = SAMPLES_LIMIT) -> list[dict[str, Any]]:
  """Videos with what the task shows of them, in the order of the split."""
  if not result.evaluated:
    return []
  found = []
  for row, shown in task.samples(result.predictions, result.dataset, limit):
    record = result.dataset.records[int(result.predictions["index"][row])]
    media = {**dataclasses.asdict(record.media), "path": os.path.abspath(record.media.path)}
    found.append({"id": record.id, "media": media, "span": record.span, **shown})
  return found


def lines(described: Mapping[str, Any]) -> list[str]:
  """What `vidx eval` prints: protocol, failures, and one line per metric."""
  how = described["protocol"]
  seen = (f"windows of {counted(how['frames of a window'], 'frame')} ({how['windows']})" if "windows" in how else
          f"{counted(how['clips'], 'clip')} x {counted(how['crops'], 'crop')} per video" if "clips" in how else
          "whole videos")
  shown = [f"{how['split']} of {how['data']}, step {described['step']}, {seen}:"
           f" {described['evaluated']} of {counted(described['videos'], 'video')}"
           + (f", {described['labelled']} of them labelled" if described["labelled"] < described["evaluated"] else "")
           + (f", mean +- deviation of {len(described['seeds'])} seeds" if "seeds" in described else "")]
  if described["failures"]:
    shown.append(f"left out {counted(len(described['failures']), 'video')} that could not be decoded:")
    shown += [f"  {f['id']}: {f['reason']}" for f in described["failures"]]
  if "sound" in described:
    sound = described["sound"]
    shown.append(f"sound: {counted(sound['with'], 'video')} with, {sound['without']} without, {sound['damaged']}"
                 " damaged")
  spread = described.get("deviations", {})
  others: dict[str, list[str]] = {}
  for name, value in described["metrics"].items():
    text = writing.figure(name, value)
    text += f" +- {writing.figure(name, spread[name])}" if spread.get(name) is not None else ""
    part, slash, rest = name.partition("/")
    if slash and rest in described["metrics"]:  # of another read-out
      others.setdefault(part, []).append(f"{rest} {text}")
    else:
      shown.append(f"{name}: {text}")
  return shown + [f"{part}: {', '.join(values)}" for part, values in others.items()]


def write(described: Mapping[str, Any], workdir: str, ending: str = "") -> str:
  """Writes eval/<split>-<views><ending>.json in one piece; its path."""
  how = described["protocol"]
  path = os.path.join(workdir, "eval", f"{how['split']}-{how['views']}{ending}.json")
  writing.write_json(path, dict(described))
  return path


def write_files(result: EvalResult, task, path: str) -> list[str]:
  """Writes the further files of a task, see `Task.files`, beside the result file `path`; their paths."""
  made = task.files(result.predictions, result.dataset) if result.evaluated else {}
  paths = {ending: os.path.splitext(path)[0] + ending for ending in made}
  for ending, text in made.items():
    writing.write_text(paths[ending], text)
  return list(paths.values())
