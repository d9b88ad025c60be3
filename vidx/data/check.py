"""`vidx data check`: what a data set holds, and every file of it that cannot be used."""

from collections import Counter
from collections.abc import Mapping, Sequence
import concurrent.futures
import contextlib
import functools
import os
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidx import errors, reading, terminal
from vidx.data import clips, datasets, experts, feature_files, media_files, notices
from vidx.data.frame_boxes import TRUTH
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

_CHUNK = 32  # frames decoded at once, which bounds the memory
_SHORT_SIDE = 32
_HEARD = 0.5  # seconds of sound that are decoded at once
_LATE = 1.0  # seconds that a span may end after its video, as annotations are rounded
_CLASSES_SHOWN = 40


def check(name: str, root: str, split: str = "", full: bool = False, frames: int = 3, workers: int = 0,
          **options: Any) -> dict[str, Any]:
  """Opens every video of a data set and decodes some of its frames, or all.

  Args:
    name: reader, such as "folder" or "ucf101".
    root: folder that it reads.
    split: "train", "val" or "test"; empty: those that there are.
    full: whether to decode every frame.
    frames: per video, from the first to the last, when not full.
    workers: threads; 0: one per core. Decoding runs outside of the interpreter's lock.
    **options: of the reader.

  Returns:
    {'dataset', 'root', 'classes', 'multilabel', 'absent': {split: why},
     'notes': [line (see notices.py)], 'bad': [{'split', 'id', 'path', 'reason'}],
     'splits': {split: {'records', 'videos', 'missing': [path], 'bad', 'with_sound', 'unlabelled',
                        'labels': {class: records}, 'frames', 'seconds', 'fps': {rate: videos},
                        'sizes': {'WxH': videos}, 'boxes': {'total', 'tracks', 'most', 'dropped'}}}}
    where 'frames' and 'seconds' are {'total', 'min', 'median', 'max'}; a split also has 'sound', {'without': [path],
    'damaged': {path: reason}} of its videos, which are no bad files: systems that hear can do without. The path of an
    example that shares its file with others is 'ID in PATH'.

  Raises:
    UserError: the annotation is broken, or there is no split at all.
  """
  if frames < 1 or workers < 0:
    raise errors.ConfigError(f"frames={frames} must be at least 1, workers={workers} at least 0.")
  found, absent = _read(name, root, split, options)
  media = {r.media: r for d in found for r in d.records}
  own = {"features": lambda m: probe_features(media[m]), "sound": probe_sound,
         experts.KIND: probe_experts}
  look = lambda m: own[m.kind](m) if m.kind in own else probe(m, 0 if full else frames)
  with concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
    probed = dict(zip(media, pool.map(look, media)))
  other = datasets.of_others(name, root)
  notes = [*([f"the {other}"] if other else []), *notices.about(found), *_copies(found, probed),
           *(line for d in found for line in _cut(d, probed))]
  result = {"dataset": name, "root": root, "classes": list(found[0].classes), "multilabel": found[0].multilabel,
            "absent": absent, "notes": notes, "bad": [], "splits": {}}
  for d in found:
    bad = _bad(d, probed)
    result["bad"] += bad
    result["splits"][d.split] = _statistics(d, probed, len(bad))
  return result


def probe_sound(media: Media) -> dict[str, Any]:
  """As `probe`, of a file of sound, which has no frames."""
  from vidx.data import sound  # PyAV is loaded where files are opened
  try:
    seconds = len(sound.read(media.path, rate=sound.RATE)) / sound.RATE
  except errors.DecodeError as e:
    return {"reason": str(e).removeprefix(f"{media.path}: ")}
  return {"frames": 0, "seconds": seconds, "fps": 1.0, "sound": True, "size": (0, 0), "last": seconds}


def probe(media: Media, frames: int) -> dict[str, Any]:
  """What one file is: {'frames', 'seconds', 'fps', 'size', 'sound', 'last'}, or {'reason'} if it is bad.

  Args:
    media: the file.
    frames: how many to decode, from the first to the last; 0: all.
  """
  try:
    with clips.open_media(media) as video:
      count = video.num_frames
      if not count:
        raise errors.DecodeError(f"{media.path}: it holds no frames.")
      wanted = np.linspace(0, count - 1, min(frames, count)).round().astype(np.int64) if frames else np.arange(count)
      step = _CHUNK if not frames else 1  # a few are asked for one by one and from the last on, as training may
      for start in reversed(range(0, len(wanted), step)):
        video.frames(wanted[start:start + step], short_side=_SHORT_SIDE)
      found = {"frames": count, "seconds": video.duration, "fps": video.fps, "sound": video.has_audio,
               "size": (video.width, video.height), **_end(video)}
  except (errors.DecodeError, OSError, IndexError) as e:
    return {"reason": " ".join(str(e).split()).removeprefix(f"{media.path}: ")}
  return {**found, "damaged": damage_to_sound(media, found["seconds"], not frames)} if found["sound"] else found


def _end(video: Any) -> dict[str, Any]:
  """{'last'}, when the last frame is shown, and 'untimed', why nobody knows, where that is so."""
  try:
    return {"last": float(video.timestamps[-1])}
  except errors.DecodeError:
    raise
  except errors.DataError as e:  # frames without a rate, of which spans alone are bad
    return {"last": np.inf, "untimed": str(e)}


def damage_to_sound(media: Media, seconds: float, whole: bool) -> str:
  """Why the sound of a video cannot be decoded, '' where it can: at its start, its middle and its end, or whole."""
  from vidx.data import sound
  from vidx.data.parts import audio
  spans = [(0.0, seconds)] if whole else [(at, at + _HEARD) for at in np.linspace(0, max(0.0, seconds - _HEARD), 3)]
  try:
    for span in spans:
      with contextlib.suppress(sound.NoSound):  # it may end before the pictures do
        sound.read(audio.source(media), *span)
  except errors.DecodeError as e:
    return str(e).removeprefix(f"{media.path}: ")
  return ""


def probe_features(record: Record) -> dict[str, Any]:
  """As `probe`, of a file of features, which has frames and their size but no time: seconds and rate are 0."""
  try:
    features, _ = feature_files.load(record)
  except errors.DataError as e:
    return {"reason": str(e).replace(f"features {record.media.path}: ", "")}
  return _untimed(*features.shape)


def probe_experts(media: Media) -> dict[str, Any]:
  """As `probe_features`, of a file with features of several experts: tokens of the one with most, all features."""
  try:
    found = experts.read(media, experts.named(media))
    wrong = next((name for name, values in found.items() if not np.isfinite(values).all()), None)
    if wrong is not None:
      raise errors.DecodeError(f"expert '{wrong}' holds what is no number.")
    if not found:
      raise errors.DecodeError("no expert saw anything.")
  except errors.DataError as e:
    return {"reason": str(e).removeprefix(f"{media.path}: ")}
  return _untimed(max(map(len, found.values())), sum(values.shape[1] for values in found.values()))


def _untimed(frames: int, features: int) -> dict[str, Any]:
  """What `probe` would say of so many frames, or tokens, of so many features."""
  return {"frames": frames, "seconds": 0.0, "fps": 0.0, "sound": False, "size": (features, 1), "last": float("inf")}


def _read(name: str, root: str, split: str, options: dict) -> tuple[list[Dataset], dict[str, str]]:
  """The data sets of the wanted splits, and why others are not there."""
  found, absent, empty = [], {}, {}
  for s in [split] if split else datasets.SPLITS:
    try:
      d = datasets.read(name, root, s, **options)
    except errors.AbsentError as e:
      absent[s] = str(e)
      continue
    if d.records or d.missing:
      found.append(d)
    else:
      empty[s] = datasets.empty(d, root)
      absent[s] = f"split '{s}' of {root} is empty (reader '{name}')."
  if not found:
    raise errors.DataError(next(iter({**absent, **empty}.values())))
  return found, absent


def _called(record: Record) -> str:
  """The path of a record's media; of an example that shares its file with others its own name, and the file's."""
  media = record.media
  return media.path if media.index < 0 else f"{record.id} in {media.path}"


def _bad(d: Dataset, probed: Mapping[Media, dict]) -> list[dict[str, str]]:
  """Records whose media or span cannot be used."""
  bad = []
  for r in d.records:
    found = probed[r.media]
    reason = found.get("reason", "") or (found.get("untimed", "") if r.span else "")
    if not reason and r.span and r.span[0] > found["last"] + 1 / found["fps"]:
      start, end = r.span
      what = f"the span {start:g} to {end:g} s starts" if end > start else f"the point of time {start:g} s lies"
      reason = f"{what} after the end ({found['seconds']:.2f} s)."
    if reason:
      bad.append({"split": d.split, "id": r.id, "path": _called(r), "reason": reason})
  return bad


def _cut(d: Dataset, probed: Mapping[Media, dict]) -> list[str]:
  """Says which spans end long after their video."""
  last = lambda r: probed[r.media].get("last", np.inf)
  long = [r for r in d.records if r.span and r.span[0] <= last(r) < r.span[1] - _LATE]
  if not long:
    return []
  (start, end), seconds = long[0].span, probed[long[0].media]["seconds"]
  return [f"split '{d.split}': {len(long)} of its {counted(len(d.records), 'span')} end after their video and are cut"
          f" at its end, such as {_called(long[0])}: {start:g} to {end:g} s of {seconds:.2f} s"]


def _copies(splits: Sequence[Dataset], probed: Mapping[Media, dict]) -> list[str]:
  """Says which good files of other splits hold the bytes of one of the split to train on, under another name."""
  digest = functools.cache(reading.sha256)
  good = {m for m, found in probed.items() if "reason" not in found and m.index < 0 and os.path.isfile(m.path)}
  files = {d.split: {key: r.media.path for key, r in zip(d.media(), d.records) if r.media in good} for d in splits}
  train, lines = files.pop("train", {}), []
  sizes = {path: os.path.getsize(path) for path in train.values()}
  for split, own in files.items():
    alike = {path: os.path.getsize(path) for key, path in own.items() if key not in train}
    shared = set(alike.values()) & set(sizes.values())
    first = {digest(path): path for path, size in reversed(sizes.items()) if size in shared}
    both = [f"{path} is {first[digest(path)]}" for path, size in alike.items()
            if size in shared and digest(path) in first]
    if both:
      lines.append(f"{len(both)} of the {counted(len(own), 'file')} of split '{split}' are copies of files of 'train'"
                   f" ({media_files.listed(both)}): its figures promise too much")
  return lines


def _statistics(d: Dataset, probed: Mapping[Media, dict], bad: int) -> dict[str, Any]:
  media = {r.media: probed[r.media] for r in d.records}
  names = {r.media: _called(r) for r in d.records}
  good = [m for m in media.values() if "reason" not in m]
  labels = [tuple(r.extra[TRUTH].classes()) if TRUTH in r.extra else
            r.label if isinstance(r.label, tuple) else (r.label,) for r in d.records]
  counts = Counter(c for label in labels for c in label if c >= 0)
  return {
      "records": len(d.records), "videos": len(media), "missing": list(d.missing), "bad": bad,
      "with_sound": sum(m["sound"] for m in good),
      "sound": {"without": sorted(names[m] for m, found in media.items() if found.get("sound") is False),
                "damaged": {names[m]: found["damaged"] for m, found in media.items() if found.get("damaged")}},
      "unlabelled": sum(not any(c >= 0 for c in label) for label in labels),
      "labels": {c: counts[i] for i, c in enumerate(d.classes)},
      "boxes": _boxes(d),
      "frames": _spread([m["frames"] for m in good]), "seconds": _spread([m["seconds"] for m in good]),
      "fps": _common(f"{m['fps']:.4g}" for m in good), "sizes": _common("{}x{}".format(*m["size"]) for m in good),
  }


def _boxes(d: Dataset) -> dict[str, int]:
  """{'total', 'tracks', 'most', 'dropped'} of a set with boxes, most of a frame; {} of one without."""
  found = [r.extra[TRUTH] for r in d.records if TRUTH in r.extra]
  return {"total": sum(map(len, found)), "tracks": sum(len(set(b.track[b.track >= 0].tolist())) for b in found),
          "most": max(b.most() for b in found), "dropped": sum(b.dropped for b in found)} if found else {}


def _spread(values: Sequence[float]) -> dict[str, float]:
  if not values:
    return {"total": 0, "min": 0, "median": 0, "max": 0}
  return {"total": sum(values), "min": min(values), "median": float(np.median(values)), "max": max(values)}


def _common(values) -> dict[str, int]:
  return dict(Counter(values).most_common())


def main(name: str, root: str, split: str = "", max_missing: float = 0.1, max_listed: int = 20,
         **options: Any) -> int:
  """Checks a data set and prints what `check` finds.

  Args:
    name: see `check`.
    root: see `check`.
    split: see `check`.
    max_missing: share of missing media of a split that passes.
    max_listed: how many missing media of a split are printed; 0: all.
    **options: see `check`.

  Returns:
    0 if the data set can be used as it is, 1 if files are bad or too many are missing.
  """
  result = check(name, root, split, **options)
  show(result, Console(color_system=None), max_listed)
  short = any(len(d["missing"]) > max_missing * (d["records"] + len(d["missing"])) for d in result["splits"].values())
  return 1 if result["bad"] or short else 0


def show(result: Mapping[str, Any], console: Console, max_listed: int = 0) -> None:
  """Prints a result of `check` as tables and lists; `max_listed` as for `main`."""
  splits = result["splits"]
  boxes = [("boxes: all, tracks, most of a frame, left out",
            *(", ".join(map(str, d["boxes"].values())) or "none" for d in splits.values()))]
  _line(console, f"{result['dataset']}: {result['root']}")
  console.print(_table(["", *splits], [
      ("records", *(str(d["records"]) for d in splits.values())),
      ("videos", *(str(d["videos"]) for d in splits.values())),
      ("missing", *(str(len(d["missing"])) for d in splits.values())),
      ("bad", *(str(d["bad"]) for d in splits.values())),
      ("with sound", *(str(d["with_sound"]) for d in splits.values())),
      ("hours", *(f"{d['seconds']['total'] / 3600:.3g}" for d in splits.values())),
      ("seconds: min, median, max", *(_numbers(d["seconds"]) for d in splits.values())),
      ("frames: min, median, max", *(_numbers(d["frames"]) for d in splits.values())),
      ("frames per second", *(_head(d["fps"]) for d in splits.values())),
      ("sizes", *(_head(d["sizes"]) for d in splits.values())),
      ("without label", *(str(d["unlabelled"]) for d in splits.values())),
      *(boxes if any(d["boxes"] for d in splits.values()) else []),
  ]))
  _show_labels(result, console)
  for why in result["absent"].values():
    _line(console, f"passed over: {why}")
  for split, d in splits.items():
    bare, broken = d["sound"]["without"], d["sound"]["damaged"]
    if bare and d["with_sound"]:
      _line(console, f"without sound ({split}): {len(bare)} of {counted(d['videos'], 'video')}"
                     f" ({media_files.listed(bare)})")
    if broken:
      first, why = next(iter(broken.items()))
      _line(console, f"damaged sound ({split}): {len(broken)} of {counted(d['videos'], 'video')}, such as {first}:"
                     f" {why}")
  for note in result["notes"]:
    _line(console, f"note: {note}")
  for split, d in splits.items():
    listed = d["missing"][:max_listed or None]
    for path in listed:
      _line(console, f"missing ({split}): {path}")
    if len(listed) < len(d["missing"]):
      _line(console, f"missing ({split}): {len(d['missing']) - len(listed)} more; max_listed=0 lists all.")
  for b in result["bad"]:
    _line(console, f"bad ({b['split']}): {b['path']}: {b['reason']}")
  if not result["bad"]:
    _line(console, "no bad files.")


def _show_labels(result: Mapping[str, Any], console: Console) -> None:
  """Records per class: all classes where they are few, else the rarest."""
  splits = result["splits"]
  order = result["classes"]
  title = f"records per class, {counted(len(order), 'class')}"
  if len(order) > _CLASSES_SHOWN:
    order = sorted(order, key=lambda c: sum(d["labels"][c] for d in splits.values()))[:_CLASSES_SHOWN]
    title += f", the rarest {_CLASSES_SHOWN}"
  rows = [(c, *(str(d["labels"][c]) for d in splits.values())) for c in order]
  for word, of in (("fewest", min), ("most", max)):
    rows.append((f"({word})", *(str(of(d["labels"].values(), default=0)) for d in splits.values())))
  _line(console, title)
  console.print(_table(["class", *splits], rows))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
  table = Table(box=box.SIMPLE)
  for i, column in enumerate(columns):
    table.add_column(column, justify="right" if i else "left")
  for row in rows:
    table.add_row(*(Text(terminal.line(cell)) for cell in row))  # class names may hold brackets
  return table


def _numbers(spread: Mapping[str, float]) -> str:
  return ", ".join(f"{spread[k]:.4g}" for k in ("min", "median", "max"))


def _head(counts: Mapping[str, int]) -> str:
  """The three most frequent values, and how many others there are."""
  shown = ", ".join(f"{value} ({n})" for value, n in list(counts.items())[:3])
  return shown + (f", {counted(len(counts) - 3, 'other')}" if len(counts) > 3 else "")


def _line(console: Console, text: str) -> None:
  console.print(terminal.line(text), markup=False, highlight=False, soft_wrap=True)
