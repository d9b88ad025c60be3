"""Shards: slices of a split's records, each written whole to one ArrayRecord file.

A shard knows its records before it starts, so shards are independent: they run one
after the other here, or anywhere under Apache Beam, and nothing but their reports
comes together at the end. Beam's workers must see the source and the output folder.
"""

from collections.abc import Iterator, Sequence
import dataclasses
import json
import math
import os
from typing import Any

import numpy as np

from vidx import errors
from vidx.data import clips
from vidx.data.records import Dataset, Media, Record
from vidx.data.tfds import features as features_lib

NAME = "videos"
SHARD_BYTES = 256 << 20
MAX_EXAMPLE_BYTES = (1 << 31) - (1 << 20)  # a protocol buffer ends at 2 GiB


@dataclasses.dataclass(frozen=True)
class Shard:
  """One file to write.

  Attributes:
    path: where to.
    records: what it holds, in order; those that cannot be read are left out.
    dataset: the split without its records, for labels and classes.
  """

  path: str
  records: tuple[Record, ...]
  dataset: Dataset


def plan(dataset: Dataset, out: str, shards: int) -> list[Shard]:
  """Cuts a split into files of about equal numbers of records.

  Args:
    dataset: the split.
    out: folder of the files.
    shards: how many; 0 makes them about 256 MiB each.
  """
  n = len(dataset)
  if not shards:
    shards = math.ceil(sum(media_bytes(r.media) for r in dataset.records) / SHARD_BYTES)
  shards = max(1, min(shards, n))
  bounds = [n * i // shards for i in range(shards + 1)]
  header = dataclasses.replace(dataset, records=())
  return [Shard(os.path.join(out, f"{NAME}-{dataset.split}.array_record-{i:05d}-of-{shards:05d}"),
                dataset.records[a:b], header)
          for i, (a, b) in enumerate(zip(bounds, bounds[1:]))]


def media_bytes(media: Media) -> int:
  """Size on disk, 0 where it is missing."""
  try:
    if media.kind == "frames":
      return sum(e.stat().st_size for e in os.scandir(media.path) if e.is_file())
    return os.path.getsize(media.path)
  except OSError:
    return 0


def encoded(media: Media) -> tuple[str, list[bytes], float]:
  """Kind ("video" or "frames") and encoded bytes of a media, and `Media.fps`, which of a frame folder is always said;
  checked by decoding its two ends.

  Raises:
    DecodeError: missing, broken or too large.
  """
  from vidx.data import decode
  from vidx.data.datasets import array_record
  fps = media.fps
  try:
    if media.kind == "array_record":
      kind, parts = array_record.read_media(media)
    elif media.kind == "frames":
      with decode.open_video(media) as folder:
        kind, parts, fps = "frames", [folder.encoded(i) for i in range(folder.num_frames)], folder.fps
    else:
      kind, parts = "video", [_read(media.path)]
  except OSError as e:
    raise errors.DecodeError(f"{media.path}: {e.strerror or e}.") from e
  if sum(map(len, parts)) > MAX_EXAMPLE_BYTES:
    raise errors.DecodeError(f"{media.path}: larger than the 2 GiB that one example may hold.")
  with clips.open_media(media) as video:
    video.frames(sorted({0, video.num_frames - 1}))
  return kind, parts, fps


def _length(path: str) -> int:
  from array_record.python import array_record_module
  reader = array_record_module.ArrayRecordReader(path)
  try:
    return reader.num_records()
  finally:
    reader.close()


def _read(path: str) -> bytes:
  with open(path, "rb") as f:
    return f.read()


def write_shard(shard: Shard) -> dict[str, Any]:
  """Writes one file under a temporary name, then gives it its own.

  Returns:
    {'records': one dict per record kept, for the list beside the shards,
     'skipped': [[id, reason], ...], 'bytes': of the examples}.
  """
  from array_record.python import array_record_module
  from tensorflow_datasets.core import example_serializer
  schema = features_lib.features(shard.dataset)
  serializer = example_serializer.ExampleSerializer(schema.get_serialized_info())
  report: dict[str, Any] = {"records": [], "skipped": [], "bytes": 0}
  temporary = f"{shard.path}.incomplete-{os.getpid()}"
  # Media are compressed already, and one record a chunk makes random access cheap.
  writer = array_record_module.ArrayRecordWriter(temporary, "group_size:1,uncompressed")
  try:
    for record in shard.records:
      try:
        kind, media, fps = encoded(record.media)
      except errors.DecodeError as e:
        report["skipped"].append([record.id, str(e)])
        continue
      fields = features_lib.example(record, kind, media, fps)
      serialized = serializer.serialize_example(schema.encode_example(fields))
      writer.write(serialized)
      report["bytes"] += len(serialized)
      report["records"].append({
          "id": record.id, "label": record.label, "span": record.span, "extra": json.loads(fields["extra"]),
          **({"labels": dict(record.labels)} if record.labels else {}), **({"fps": fps} if fps else {}),
          "shard": os.path.basename(shard.path), "index": len(report["records"])})
    writer.close()
  except RuntimeError as e:  # how the writer says that the disk is full
    raise errors.DataError(f"cannot write {os.path.basename(shard.path)}: {str(e).split(';')[0]}.") from e
  if not os.path.isfile(temporary) or _length(temporary) != len(report["records"]):
    raise errors.DataError(f"cannot write {shard.path}: is its folder writable?")
  os.replace(temporary, shard.path)
  return report


def write(shards: Sequence[Shard], beam_runner: str = "") -> list[dict[str, Any]]:
  """Writes the shards and returns their reports in order.

  Args:
    shards: the files.
    beam_runner: name of an Apache Beam runner; empty: one after the other, here.
  """
  return list(_write_here(shards)) if not beam_runner else _write_with_beam(shards, beam_runner)


def _write_here(shards: Sequence[Shard]) -> Iterator[dict[str, Any]]:
  for shard in shards:
    yield write_shard(shard)


def _write_with_beam(shards: Sequence[Shard], runner: str) -> list[dict[str, Any]]:
  try:
    import apache_beam as beam
  except ImportError as e:
    raise errors.ConfigError("--beam_runner needs Apache Beam: pip install 'vidx[beam]'.") from e
  options = beam.options.pipeline_options.PipelineOptions([])  # not the flags of this program
  try:
    pipeline = beam.Pipeline(runner=runner, options=options)
  except ValueError as e:
    raise errors.ConfigError(f"--beam_runner={runner}: {str(e).splitlines()[0]}") from e
  with pipeline:
    _ = (pipeline | "Shards" >> beam.Create(list(shards)) | "Spread" >> beam.Reshuffle()
         | "Write" >> beam.Map(_write_and_report))
  return [_take_report(shard.path) for shard in shards]


def _write_and_report(shard: Shard) -> None:
  """`write_shard`, with its report in a file beside the shard: Beam's workers share only the folder."""
  report = write_shard(shard)
  with open(shard.path + ".report.json", "w", encoding="utf-8") as f:
    json.dump(report, f)


def _take_report(path: str) -> dict[str, Any]:
  with open(path + ".report.json", encoding="utf-8") as f:
    report = json.load(f)
  os.unlink(path + ".report.json")
  return report


def write_metadata(out: str, datasets: Sequence[Dataset], reports: Sequence[Sequence[dict[str, Any]]]) -> None:
  """Writes what TFDS needs to read the folder, and the lists of records that vidx reads.

  Args:
    out: folder of the shards.
    datasets: one per split.
    reports: the shard reports of each split.
  """
  import tensorflow_datasets as tfds
  template = tfds.core.ShardedFileTemplate(dataset_name=NAME, data_dir=out, filetype_suffix="array_record")
  info = tfds.core.DatasetInfo(
      builder=tfds.core.dataset_info.DatasetIdentity(
          name=NAME, version=tfds.core.Version("1.0.0"), data_dir=out, module_name=""),
      features=features_lib.features(datasets[0]), disable_shuffling=True,
      description=f"Videos of the format '{datasets[0].name}', as their encoded bytes.")
  info.set_file_format("array_record")
  info.set_splits(tfds.core.splits.SplitDict([
      tfds.core.SplitInfo(name=d.split, shard_lengths=[len(r["records"]) for r in shards],
                          num_bytes=sum(r["bytes"] for r in shards),
                          filename_template=template.replace(split=d.split))
      for d, shards in zip(datasets, reports)]))
  info.write_to_directory(out)
  for d, shards in zip(datasets, reports):
    with open(os.path.join(out, f"records-{d.split}.jsonl"), "w", encoding="utf-8") as f:
      f.write(header(d) + "\n")
      for line in (record for report in shards for record in report["records"]):
        f.write(json.dumps(line) + "\n")


def header(dataset: Dataset) -> str:
  """JSON of what a split is besides its records, the first line of their list.

  Raises:
    DataError: its facts are nothing that JSON can say.
  """
  facts = {name: {"array": fact.tolist(), "dtype": fact.dtype.name} if isinstance(fact, np.ndarray) else fact
           for name, fact in dataset.facts.items()}
  return features_lib.as_json({
      "name": dataset.name, "split": dataset.split, "classes": dataset.classes, "multilabel": dataset.multilabel,
      "categories": {k: list(v) for k, v in dataset.categories.items()},
      "named": {k: {"classes": list(t.classes), "several": t.several} for k, t in dataset.named.items()},
      "facts": facts}, f"split '{dataset.split}'")
