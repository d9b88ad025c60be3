"""The report of a run: one HTML file with its curves, results and playable samples, and nothing outside it."""

from collections.abc import Mapping, Sequence
import glob
import json
import os
from typing import Any

import numpy as np

from vidx import errors, reading, writing
from vidx.data.records import Media
from vidx.show import clips, maps, page, plots, training
from vidx.terminal import counted

RIGHT, WRONG = 4, 8  # sample clips
TIMELINES = 3  # of the best videos, and of the worst
PICTURES = 8  # of what the system sees
OTHERS = 24  # samples that are neither scores nor timelines


def write_report(workdir: str, out: str | None = None, against: str = "", kernels: bool = False) -> str:
  """Writes the report of a run.

  Args:
    workdir: folder of the run.
    out: file to write, WORKDIR/report.html where None.
    against: folders of other runs, with commas, whose curves are drawn beside those of this one, and with whose
      classes, where they are those of the same data, its classes are compared.
    kernels: whether to draw the kernels of the best checkpoint that look at pixels, see `vidx.show.kernels`.

  Returns:
    The path of the file.

  Raises:
    CheckpointError: `workdir` holds no run, or one of two has neither steps nor an evaluation of classes to compare.
    ConfigError: another run has no metric in common with this one.
  """
  if not workdir:
    raise errors.CheckpointError("no workdir: add --workdir=FOLDER, the folder of a run.")
  config = _json(workdir, "config.json")
  if config is None:
    raise reading.no_run(workdir)
  path = out or os.path.join(workdir, "report.html")
  with reading.boundary(f"what {workdir} keeps of its evaluations and steps is damaged", errors.CheckpointError):
    try:
      _write(path, workdir, config, [other for other in against.split(",") if other], kernels)
    except OSError as e:
      raise errors.UserError(f"{path} cannot be written: {reading.reason(e)}; add --out=FILE elsewhere.") from e
  return path


def _write(path: str, workdir: str, config: Mapping[str, Any], against: Sequence[str], kernels: bool) -> None:
  others = {other: _json(other, "config.json") or {} for other in against}
  training.check_beside({workdir: config, **others})
  rows = training.rows(workdir)
  evaluations = _evaluations(workdir)
  if not rows and not evaluations:
    raise errors.CheckpointError(f"{workdir} has nothing to report yet: it holds no figures of a training and no"
                                 " evaluation; run vidx train or vidx eval first.")
  page.write(
      path, "report.html",
      title=f"{config['system']['name']} on {config['data']['dataset']['name']}",
      workdir=os.path.abspath(workdir),
      tiles=_tiles(evaluations, rows),
      curves=training.curves(rows, config, [e["headline"] for e in evaluations if "headline" in e]),
      beside=training.beside({workdir: config, **others}) if others else [],
      evaluations=evaluations,
      main=_section(evaluations[0]) if evaluations else None,
      gains=[found for other in against if (found := _gains(workdir, rows, evaluations, other))],
      kernels=_kernels(workdir) if kernels else [],
      pictures=_pictures(workdir),
      failures=_failures(evaluations, rows),
      provenance=_table(_json(workdir, "provenance.json") or {}),
      config=json.dumps(config, indent=2, sort_keys=True))


def _json(workdir: str, name: str) -> Any:
  try:
    with reading.open_text(os.path.join(workdir, name)) as f:
      return json.load(f)
  except (OSError, ValueError, RecursionError):
    return None


def _evaluations(workdir: str) -> list[dict[str, Any]]:
  """The result files, the one to show in full first: of the latest step, with the most views."""
  found = [_json(workdir, os.path.relpath(p, workdir)) for p in glob.glob(os.path.join(glob.escape(workdir), "eval",
                                                                                      "*.json"))]
  views = lambda how: how.get("clips", 1) * how.get("crops", 1)
  rank = lambda e: (-e["step"], -views(e["protocol"]), e["protocol"]["split"])
  return sorted((e for e in found if e), key=rank)


def _tiles(evaluations: Sequence[Mapping], rows: Sequence[Mapping]) -> list[tuple[str, str]]:
  """(name, value) of the figures at the head."""
  tiles = []
  if evaluations:
    first = evaluations[0]
    tiles += [(name, f"{writing.figure(name, value)} {writing.unit(name)}".rstrip())
              for name, value in first["metrics"].items()
              if value is not None and name != "loss"][:4]
    tiles.append((f"of {counted(first['videos'], 'video')} evaluated", f"{first['evaluated']:,}"))
  train = [r for r in rows if r["split"] == "train"]
  if train:
    tiles.append(("steps", f"{train[-1]['step']:,}"))
    for name in training.RATES:
      if rates := [r[name] for r in train if r.get(name)]:
        tiles.append((training.LABELS[name], f"{np.median(rates):,.0f}"))
  return tiles


def _section(evaluation: Mapping[str, Any]) -> dict[str, Any]:
  """What the page shows of one evaluation."""
  section = {
      "result": evaluation, **_bars(evaluation["per_class"]),
      "targets": [{"name": name, **_bars(rows)} for name, rows in evaluation.get("per_class_of", {}).items() if rows],
      "others": [], "confusion": "", "confused": [], "protocol": list(evaluation["protocol"].items()),
      "samples": [], "timelines": [], "colours": {}, "readouts": readouts(evaluation["metrics"]),
      "categories": categories(evaluation["metrics"]),
      "savings": _savings(evaluation.get("savings")),
  }
  samples = evaluation.get("samples", [])
  if any("predicted" in s and "confidence" in s for s in samples):
    names = sorted({name for s in samples for row in (*s["predicted"].values(), s.get("truth", ())) for name, _ in row})
    section["colours"] = {name: plots.class_colour(i) for i, name in enumerate(names)}
    section["timelines"] = _timelines(samples, section["colours"])
  elif all("top" in s for s in samples):
    section["samples"] = _samples(samples)
  else:
    section["others"] = [{"id": s["id"], "shown": _shown(s)} for s in samples[:OTHERS]]
  if "confusion" in evaluation:
    counts, names = np.asarray(evaluation["confusion"]), [c["name"] for c in evaluation["per_class"]]
    section["confusion"] = plots.confusion(counts, names)
    section["confused"] = confused(counts, names)
  return section


def _gains(workdir: str, rows: Sequence[Mapping], evaluations: Sequence[Mapping], other: str) -> dict[str, Any] | None:
  """{'against', 'rows': see `gains`}; None where there are curves alone to compare."""
  theirs = _evaluations(other)
  evaluated = all(some and some[0]["per_class"] for some in (evaluations, theirs))
  if not evaluated and rows and training.rows(other):
    return None
  return {"against": os.path.abspath(other), "rows": gains(_compared(workdir, evaluations), _compared(other, theirs))}


def _compared(workdir: str, evaluations: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
  """The classes of a run's first evaluation."""
  if not evaluations or not evaluations[0]["per_class"]:
    raise errors.CheckpointError(f"{workdir} has no evaluation with figures of classes to compare:"
                                 f" vidx eval --workdir={workdir}")
  return evaluations[0]["per_class"]


def gains(own: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """[{'name', 'value', 'other', 'gain'}] of the classes that both runs have a figure of, the largest gain first."""
  figure = lambda c: c.get("ap", c.get("accuracy"))
  known = {c["name"]: figure(c) for c in other if figure(c) is not None}
  rows = [{"name": c["name"], "value": figure(c), "other": known[c["name"]], "gain": figure(c) - known[c["name"]]}
          for c in own if figure(c) is not None and c["name"] in known]
  return sorted(rows, key=lambda c: (-c["gain"], c["name"]))


def _bars(per_class: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """A bar for every class that videos have, the lowest first, and how many have none."""
  figure = "ap" if any("ap" in c for c in per_class) else "accuracy"
  bars = [{"name": c["name"], "n": c["n"], "value": c[figure]} for c in per_class
          if c["n"] and c[figure] is not None]
  bars.sort(key=lambda c: (c["value"], c["name"]))
  return {"figure": "average precision" if figure == "ap" else "accuracy", "bars": bars,
          "unseen": sum(not c["n"] for c in per_class)}


def _shown(sample: Mapping[str, Any], most: int = 200) -> list[tuple[str, str]]:
  """(name, text) of what a task shows of a sample that is neither scores nor a timeline."""
  texts = [(k, v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)) for k, v in sample.items()
           if k not in ("id", "media", "span")]
  return [(k, t if len(t) <= most else t[:most - 3] + "...") for k, t in texts]


def _savings(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
  """What samplers saved, with (title, svg) of the live entries behind each."""
  if found is None:
    return None
  plots_of = [(f"behind {site}: {found['mean_counts'][site]:.1f} on average",
               plots.histogram(*zip(*pairs), xlabel="live entries")) for site, pairs in found["counts"].items()]
  return {**found, "histograms": plots_of, "saved_time": 1 - found["adaptive_seconds"] / found["dense_seconds"]}


def categories(metrics: Mapping[str, float | None]) -> list[dict[str, Any]]:
  """[{'name', 'value'}] of the metrics 'mAP/NAME', their mean 'mAP' in front; none where there are no categories."""
  found = [{"name": key.partition("/")[2], "value": value} for key, value in metrics.items() if key.startswith("mAP/")]
  return [{"name": "overall", "value": metrics["mAP"]}, *found] if found else []


def readouts(metrics: Mapping[str, float | None]) -> dict[str, dict[str, float | None]]:
  """Metrics by read-out, where 'NAME/metric' stands beside 'metric'; the main one is called ''."""
  found: dict[str, dict[str, float | None]] = {"": {}}
  for key, value in metrics.items():
    name, slash, rest = key.partition("/")
    name, rest = (name, rest) if slash and rest in metrics else ("", key)
    found.setdefault(name, {})[rest] = value
  return found


def _timelines(samples: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> list[dict[str, Any]]:
  """The videos of which the most and the fewest frames are right, with their pictures."""
  order = sorted(samples, key=lambda s: -s.get("right", 0.0))
  chosen = order if len(order) <= 2 * TIMELINES else order[:TIMELINES] + order[-TIMELINES:]
  rows = lambda s: {**({"truth": s["truth"]} if "truth" in s else {}), **s["predicted"]}
  return [{**s, "svg": plots.timeline(rows(s), colours, s["confidence"])} for s in chosen]


def confused(counts: np.ndarray, names: Sequence[str], most: int = 8) -> list[dict[str, Any]]:
  """The pairs of classes that were taken for one another most often."""
  mistakes = counts - np.diag(np.diag(counts))
  order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
  pairs = [np.unravel_index(i, counts.shape) for i in order]
  return [{"true": names[t], "predicted": names[p], "count": int(mistakes[t, p]), "of": int(counts[t].sum())}
          for t, p in pairs if mistakes[t, p]]


def choose(samples: Sequence[Mapping[str, Any]], right: int = RIGHT, wrong: int = WRONG) -> list[Mapping[str, Any]]:
  """The most confident mistakes, and right ones of as many classes as possible."""
  confidence = lambda s: -s["top"][0]["score"]
  mistakes = sorted((s for s in samples if not s["right"] and s["truth"]), key=confidence)[:wrong]
  seen: dict[str, int] = {}
  hits = []
  for s in sorted((s for s in samples if s["right"]), key=confidence):
    label = s["top"][0]["label"]
    hits.append((seen.get(label, 0), len(hits), s))
    seen[label] = seen.get(label, 0) + 1
  return mistakes + [s for _, _, s in sorted(hits, key=lambda h: h[:2])[:right]]


def _samples(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """The chosen samples with their clips."""
  shown = []
  for sample in choose(samples):
    clip, speed, problem = "", 1.0, ""
    try:
      span = tuple(sample["span"]) if sample["span"] else None
      content, speed = clips.sample_clip(Media(**sample["media"]), span)
      clip = clips.data_uri(content, "video/mp4")
    except errors.DecodeError as e:
      problem = str(e)
    shown.append({**sample, "clip": clip, "problem": problem, "speed": speed if speed > 1.05 else None})
  return shown


def _kernels(workdir: str) -> list[tuple[str, str]]:
  """(title, picture) of the kernels that look at pixels."""
  from vidx.infer import load
  from vidx.show import kernels
  return [(title, clips.data_uri(maps.png(kernels.picture(found)), "image/png"))
          for title, found in kernels.of(load.load_checkpoint(workdir)).items()]


def _pictures(workdir: str) -> list[tuple[str, str]]:
  """(name, picture) of what `vidx predict --show` drew into WORKDIR/maps."""
  found = []
  for path in sorted(glob.glob(os.path.join(glob.escape(workdir), "maps", "*.png")))[:PICTURES]:
    with open(path, "rb") as f:
      found.append((os.path.splitext(os.path.basename(path))[0], clips.data_uri(f.read(), "image/png")))
  return found


def _failures(evaluations: Sequence[Mapping], rows: Sequence[Mapping]) -> list[tuple[str, str]]:
  """(id, reason) of every file that could not be decoded, once."""
  found = {f["id"]: f["reason"] for e in evaluations for f in e["failures"]}
  for row in rows:
    for name in row.get("decode_failures", ()):
      found.setdefault(name, "could not be decoded")
  return sorted(found.items())


def _table(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
  """('a.b', 'value') of nested mappings."""
  rows = []
  for key, value in nested.items():
    if isinstance(value, Mapping):
      rows += _table(value, f"{prefix}{key}.")
    else:
      rows.append((f"{prefix}{key}", str(value)))
  return rows
