"""Features and ArrayRecords to try their readers on, and ways to spoil any file.

A file is tried beside those that its reader needs. It may be read, or be refused by an
error of the library; anything else, ten seconds, or a gigabyte of memory is a failure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import fnmatch
import functools
import io
import json
import os
import pickle
import resource
import shutil
import signal
import tempfile
import time

import numpy as np

from vidx import errors, reading

Mutation = Callable[[bytes, np.random.Generator], bytes]
_LIMIT_S = 10
_LIMIT_BYTES = 1 << 30
_ODD = ("\0", "\x1b[2J", "\u2028", "\u0085", "\n", '"', ",", "[", "{", "]", "}", ":", "NaN", "-1", "1e999", "99999999",
        "9" * 5000, "null", "\\ud800", "../", " ", "", "é", "<", "&", "true")


@dataclasses.dataclass(frozen=True)
class Case:
  """A file that is spoilt, the files beside it, and who reads them.

  Attributes:
    files: contents by path below a folder.
    target: the path of the one that is spoilt.
    read: reads the folder.
  """

  files: Mapping[str, bytes]
  target: str
  read: Callable[[str], object]


# ---------------------------------------------------------------- ways to spoil a file


def _bit(data: bytes, rng: np.random.Generator) -> bytes:
  out = bytearray(data)
  for at in rng.integers(len(out), size=1 + rng.integers(3)):
    out[at] ^= 1 << int(rng.integers(8))
  return bytes(out)


def _early_bit(data: bytes, rng: np.random.Generator) -> bytes:
  return _bit(data[:256], rng) + data[256:]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
  return data[:int(rng.integers(len(data)))]


def _hole(data: bytes, rng: np.random.Generator) -> bytes:
  a, b = np.sort(rng.integers(len(data), size=2))
  return data[:a] + data[b:]


def _twice(data: bytes, rng: np.random.Generator) -> bytes:
  a, b = np.sort(rng.integers(len(data), size=2))
  return data[:b] + data[a:]


def _odd(data: bytes, rng: np.random.Generator) -> bytes:
  at = int(rng.integers(len(data)))
  word = _ODD[rng.integers(len(_ODD))].encode("utf-8", "surrogatepass")
  return data[:at] + word + data[at + int(rng.integers(3)):]


def _not_utf8(data: bytes, rng: np.random.Generator) -> bytes:
  at = int(rng.integers(len(data)))
  return data[:at] + b"\xe9" + data[at:]


def _number(data: bytes, rng: np.random.Generator) -> bytes:
  """Another number in place of one of the text's."""
  ends = [i for i in range(len(data)) if 48 <= data[i] <= 57]
  if not ends:
    return _odd(data, rng)
  at = ends[rng.integers(len(ends))]
  word = (b"-1", b"0", b"99999999", b"1e308", b"9" * 40, b"1.5", b"x")[rng.integers(7)]
  return data[:at] + word + data[at + 1:]


def _lines(data: bytes, rng: np.random.Generator) -> bytes:
  """Lines in another order, one of them left out."""
  lines = data.split(b"\n")
  del lines[rng.integers(len(lines))]
  return b"\n".join(lines[i] for i in rng.permutation(len(lines)))


MUTATIONS: Mapping[str, Mutation] = {
    "bit": _bit, "early bit": _early_bit, "cut": _cut, "hole": _hole, "twice": _twice, "odd text": _odd,
    "not UTF-8": _not_utf8, "number": _number, "lines": _lines,
}


# ---------------------------------------------------------------- the cases


def text(*lines: str) -> bytes:
  return "".join(f"{line}\n" for line in lines).encode()


def as_json(value: object) -> bytes:
  return json.dumps(value).encode()


def npy(array: np.ndarray) -> bytes:
  out = io.BytesIO()
  np.save(out, array)
  return out.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
  out = io.BytesIO()
  np.savez_compressed(out, **arrays)
  return out.getvalue()


def _of(files: Mapping[str, bytes], read: Callable[[str], object], *targets: str) -> dict[str, Case]:
  return {t: Case(files, t, read) for t in targets}


def features() -> dict[str, Case]:
  """Arrays, stores of detections and experts, pickles and .mat files."""
  from vidx.data import detection_files, detections, expert_files, experts, feature_files, score_files
  from vidx.data.records import Media, Record
  of_path = lambda name: lambda root: feature_files.load(
      Record("v", Media(os.path.join(root, name), "features"), extra={"time_axis": 0, "runs": ()}))
  x = np.linspace(0, 1, 320, dtype=np.float32).reshape(40, 8)
  boxes = np.tile(np.array([0.1, 0.1, 0.5, 0.5], np.float32), (5, 2, 1))
  store = dict(time_s=np.arange(5.0), boxes=boxes, scores=np.ones((5, 2), np.float32),
               feats=np.ones((5, 2, 3), np.float16))
  picked = {**store, "width": 64.0, "height": 48.0, "fps": 5.0}
  found = _of({"v.npy": npy(x)}, of_path("v.npy"), "v.npy")
  found |= _of({"v.txt": text(*(" ".join(map(str, (i, *row))) for i, row in enumerate(x)))}, of_path("v.txt"), "v.txt")
  found |= _of({"d.npz": _npz(**store)}, lambda root: detections.Store(os.path.join(root, "d.npz")), "d.npz")
  seen = lambda root: experts.read(Media(os.path.join(root, "e.npz"), "experts"), ["rgb"])
  found |= _of({"e.npz": _npz(rgb=x)}, seen, "e.npz")
  converted = lambda module, **options: lambda root: module.convert(
      root, os.path.join(root, "out"), **options)
  found |= _of({"d.pkl": pickle.dumps(picked)}, converted(detection_files), "d.pkl")
  listed = [{"video_id": "v", "frame": i, "bbox": [1, 2, 30, 20], "score": 0.5, "feature": [1, 2]} for i in range(4)]
  found |= _of({"d.json": as_json({"detections": listed, "videos": {"v": {"width": 64, "height": 48, "fps": 25}}})},
               converted(detection_files), "d.json")
  found |= _of({"features.rgb.pkl": pickle.dumps({f"v{i}": x for i in range(3)}, 2)}, converted(expert_files),
               "features.rgb.pkl")
  from scipy import io as scipy_io
  out = io.BytesIO()
  cells = np.empty((1, 2), object), np.empty((1, 2), object)
  for k in range(2):
    cells[0][0, k], cells[1][0, k] = np.ones((6, 3)), np.ones((6, 1))
  scipy_io.savemat(out, {"S": cells[0], "Y": cells[1]})
  return found | _of({"1.mat": out.getvalue()}, converted(score_files), "1.mat")


def array_records() -> dict[str, Case]:
  """A shard of two records, read by place."""
  from vidx.data.datasets import array_record
  from vidx.data.records import Media
  example = {"kind": [b"frames"], "media": [b"\xff\xd8" + bytes(range(200)), b"\x89PNG" + bytes(99)]}

  def read(root: str) -> None:
    with tempfile.TemporaryDirectory() as fresh:  # readers are kept open by path
      path = shutil.copy(os.path.join(root, "a.array_record"), fresh)
      for index in range(2):
        with array_record.open_media(Media(path, "array_record", index)) as opened:
          opened.num_frames
      array_record.close()

  return _of({"a.array_record": shard([example] * 2)}, read, "a.array_record")


def shard(examples: Sequence[Mapping[str, list[bytes] | list[int]]]) -> bytes:
  """An ArrayRecord file of TFDS' examples, whose features are bytes or whole numbers."""
  from array_record.python import array_record_module
  from tensorflow_datasets.proto import tf_example_pb2
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "a.array_record")
    writer = array_record_module.ArrayRecordWriter(path, "group_size:1,uncompressed")
    for example in examples:
      made = tf_example_pb2.Example()
      for name, values in example.items():
        feature = made.features.feature[name]
        (feature.bytes_list if isinstance(values[0], bytes) else feature.int64_list).value.extend(values)
      writer.write(made.SerializeToString())
    writer.close()
    with open(path, "rb") as f:
      return f.read()


# ---------------------------------------------------------------- trying them


@functools.cache
def _cases(make: Callable[[], dict[str, Case]]) -> dict[str, Case]:
  return make()


def kind(make: Callable[[], dict[str, Case]]) -> tuple:
  """(intact, mutations, judge) of `fuzz.Kind`, of cases by name."""

  def intact(rng: np.random.Generator, pattern: str) -> Iterator[tuple[str, bytes]]:
    del rng
    for name, case in _cases(make).items():
      if fnmatch.fnmatch(name, pattern):
        yield name.replace("/", "+"), case.files[case.target]

  def judge(data: bytes, rng: np.random.Generator, name: str) -> tuple[str, str]:
    del rng
    return tried(_cases(make)[name.replace("+", "/")], data)

  return intact, MUTATIONS, judge


def tried(case: Case, data: bytes) -> tuple[str, str]:
  """(verdict, detail) of a spoilt file: 'read', 'refused', 'crashed', 'slow' or 'large'.

  A file that takes far too long ends the process, as one does that takes it down.
  """
  held = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  with tempfile.TemporaryDirectory(prefix="vidx-fuzz-") as root:
    for path, content in case.files.items():
      os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
      with open(os.path.join(root, path), "wb") as f:
        f.write(data if path == case.target else content)
    before, start = held(), time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 3 * _LIMIT_S)
    try:
      case.read(root)
      verdict = "read", ""
    except errors.UserError as e:
      verdict = ("crashed", f"a message of several lines: {e}"[:200]) if "\n" in str(e) else ("refused", str(e)[:200])
    except Exception as e:  # pylint: disable=broad-except
      verdict = "crashed", f"{type(e).__name__}: {reading.reason(e)}"
    finally:
      signal.setitimer(signal.ITIMER_REAL, 0)
    if time.monotonic() - start > _LIMIT_S:
      return "slow", f"{time.monotonic() - start:.0f} s; {verdict[0]}"
    if held() - before > _LIMIT_BYTES:
      return "large", f"{(held() - before) >> 20} MiB; {verdict[0]}"
    return verdict
