"""`vidx data build`: any data set that vidx reads, as ArrayRecord files for TFDS and Grain."""

from collections.abc import Mapping, Sequence
import os
import shutil
from typing import Any

from vidx import errors
from vidx.data import datasets
from vidx.data.frame_boxes import PROPOSED, TRUTH
from vidx.data.records import Dataset
from vidx.data.tfds import writer
from vidx.terminal import counted

SPLITS = ("train", "val", "test")


def build(name: str, root: str, out: str, splits: str | Sequence[str] = SPLITS, beam_runner: str = "",
          shards: int = 0, **options: Any) -> dict[str, Any]:
  """Writes the splits of a data set into a new folder; a build that fails leaves none.

  Media bytes go in as they are. What is missing or cannot be decoded is left out
  and listed.

  Args:
    name: reader, such as "folder" or "ucf101".
    root: folder that it reads.
    out: folder to write; must not exist, or be empty.
    splits: which splits, as names or "train,val"; one that the data set lacks is passed over.
    beam_runner: name of an Apache Beam runner, such as "DirectRunner".
    shards: files per split; 0: by size.
    **options: of the reader.

  Returns:
    {'out', 'splits': {split: {'videos', 'bytes', 'shards', 'missing', 'skipped'}},
     'absent': {split: why}, 'missing': [path], 'skipped': [[id, reason]]}.

  Raises:
    UserError: nothing to write, or nowhere to write it.
  """
  if not out:
    raise errors.ConfigError("nowhere to write: add --out=FOLDER.")
  out = os.path.abspath(out)
  if os.path.isdir(out) and os.listdir(out):
    raise errors.DataError(f"{out} exists and is not empty; remove it or choose another --out.")
  wanted = splits.split(",") if isinstance(splits, str) else splits
  found, absent = _load(name, root, wanted, options)
  temporary = f"{out}.incomplete-{os.getpid()}"
  try:
    os.makedirs(temporary)
    plans = [writer.plan(d, temporary, shards) for d in found]
    reports = _by_split(plans, writer.write([s for plan in plans for s in plan], beam_runner))
    summary = _summary(out, found, absent, reports)
    if not any(s["videos"] for s in summary["splits"].values()):
      first = summary["skipped"][0]
      raise errors.DataError(f"no video of {root} can be decoded, nothing was written; the first: {first[1]}")
    writer.write_metadata(temporary, found, reports)
    if os.path.isdir(out):
      os.rmdir(out)
    os.rename(temporary, out)
  except OSError as e:
    raise errors.DataError(f"cannot write {out}: {e.strerror or e}.") from e
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
  return summary


def _load(name: str, root: str, splits: Sequence[str], options: dict) -> tuple[list[Dataset], dict[str, str]]:
  found, absent = [], {}
  for split in splits:
    try:
      found.append(datasets.load(name, root, split, **options))
      if beside := _beside(found[-1]):
        raise errors.DataError(f"split '{split}' of {root} has {beside}, which built files do not hold: train on it as"
                               " it is.")
      writer.header(found[-1])  # what it cannot hold is told before hours of writing
    except errors.AbsentError as e:
      absent[split] = str(e)
  if not found:
    raise errors.DataError(next(iter(absent.values())) if absent else "no splits to build.")
  return found, absent


def _beside(dataset: Dataset) -> str:
  """What of a data set is neither media nor plain fields, '' for nothing."""
  files = {part for r in dataset.records for part in r.companions}
  if files:
    return f"further files beside its videos ({', '.join(sorted(files))})"
  if any(key in r.extra for r in dataset.records for key in (TRUTH, PROPOSED)):
    return "boxes of objects"
  return "" if dataset.plan is None else "a plan of what an epoch shows"


def _by_split(plans: Sequence[Sequence[writer.Shard]], reports: Sequence[dict]) -> list[list[dict]]:
  rest = iter(reports)
  return [[next(rest) for _ in plan] for plan in plans]


def _summary(out: str, found: Sequence[Dataset], absent: dict[str, str],
             reports: Sequence[Sequence[dict]]) -> dict[str, Any]:
  return {
      "out": out,
      "splits": {
          d.split: {"videos": sum(len(r["records"]) for r in shards), "bytes": sum(r["bytes"] for r in shards),
                    "shards": len(shards), "missing": len(d.missing),
                    "skipped": sum(len(r["skipped"]) for r in shards)}
          for d, shards in zip(found, reports)},
      "absent": absent,
      "missing": [path for d in found for path in d.missing],
      "skipped": [skip for shards in reports for r in shards for skip in r["skipped"]],
  }


def lines(summary: Mapping[str, Any]) -> list[str]:
  """What `build` did, for people: a line per split, and one per medium that is not in it."""
  told = [f"{split}: {counted(d['videos'], 'video')}, {d['bytes'] / 2**20:,.1f} MiB in {counted(d['shards'], 'file')}"
          + "".join(f", {d[what]:,} {what}" for what in ("missing", "skipped") if d[what])
          for split, d in summary["splits"].items()]
  told += [f"passed over: {why}" for why in summary["absent"].values()]
  told += [f"missing: {path}" for path in summary["missing"]]
  told += [f"skipped: {name}: {reason}" for name, reason in summary["skipped"]]
  return [*told, f"written to {summary['out']}; train on it with --config.data.dataset.name=array_record"
          f" --config.data.root={summary['out']}"]
