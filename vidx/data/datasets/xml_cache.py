"""Objects of many xml files, kept in the cache: a start parses only files that are new, or changed since.

A data set of videos has an xml file per frame, a million of them. What was read of a folder
is kept in one npz, `annotations/<hash>.npz` in the cache (see vidx/places.py), beside each
file's size and time of change, by which a changed one is known; of a few files nothing is
kept. A cache that is damaged, or cannot be written, costs time and nothing else. Of several
processes each writes a whole file, and the last one's stays.

  names     uint8, names of the files below the folder, a 0 between two
  files     int64 (F, 5): size and time of change (ns) of the file, height and width of its image, number of objects
  box       float64 (N, 4), see `voc_xml.Objects`
  objects   int64 (N, 2): class and track
"""

from collections.abc import Mapping, Sequence
import concurrent.futures
import contextlib
import hashlib
import json
import os
import zipfile

import numpy as np

from vidx import places, reading, writing
from vidx.data.datasets import voc_xml
from vidx.data.datasets.voc_xml import Objects

_THREADS = 8  # files are waited for
_FEW = 32  # files that are parsed about as soon as looked up
_VERSION = 1  # of what is kept: another one is another file
_Stamp = tuple[int, int]


def read_all(folder: str, names: Sequence[str], ids: Mapping[str, int], others: bool = False) -> list[Objects]:
  """`voc_xml.read` of files below a folder, or what is kept of it; raises as it does.

  Args:
    folder: which they are below.
    names: of the files, relative to it.
    ids: class ids by name.
    others: whether objects of classes that are not in the list are passed over.
  """
  paths = [os.path.join(folder, name) for name in names]
  file = places.cache("annotations", f"{_key(folder, ids, others)}.npz")
  kept = _load(file) if len(names) > _FEW else {}
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    parts = [paths[i:i + 256] for i in range(0, len(paths), 256)]
    stamps = [stamp for part in pool.map(lambda part: [_stamp(p) for p in part], parts) for stamp in part]
    found = [was[1] if (was := kept.get(name)) and was[0] == stamp else None for name, stamp in zip(names, stamps)]
    new = [i for i, objects in enumerate(found) if objects is None]
    for i, objects in zip(new, pool.map(lambda i: voc_xml.read(paths[i], ids, others), new)):
      found[i] = objects
  if new and len(names) > _FEW:
    kept.update((name, (stamp, objects)) for name, stamp, objects in zip(names, stamps, found))
    _save(file, kept)
  return found


def _key(folder: str, ids: Mapping[str, int], others: bool) -> str:
  """The name of what is kept: other classes make other objects of the same files."""
  said = json.dumps([_VERSION, os.path.abspath(folder), sorted(ids.items()), others])
  return hashlib.sha256(said.encode()).hexdigest()[:32]


def _stamp(path: str) -> _Stamp | None:
  """Size and time of change of a file, taken before it is read; None where there is none."""
  try:
    found = os.stat(path)
  except OSError:
    return None
  return found.st_size, found.st_mtime_ns


def _load(file: str) -> dict[str, tuple[_Stamp, Objects]]:
  """{name: stamp and objects} of what is kept; nothing where it is damaged."""
  try:
    with reading.arrays(file) as stored:
      names = stored["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
      files, box, objects = (stored[key] for key in ("files", "box", "objects"))
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return {}
  if files.shape != (len(names), 5) or (files[:, 4] < 0).any():
    return {}
  ends = np.cumsum(files[:, 4])
  if box.shape != (ends[-1], 4) or objects.shape != (ends[-1], 2):
    return {}
  label, track = objects[:, 0].astype(np.int32), objects[:, 1].astype(np.int32)
  found, start = {}, 0
  for name, (size, changed, height, width, _), end in zip(names, files.tolist(), ends.tolist()):
    found[name] = (size, changed), Objects((height, width), box[start:end], label[start:end], track[start:end])
    start = end
  return found


def _save(file: str, kept: Mapping[str, tuple[_Stamp, Objects]]) -> None:
  own = [objects for _, objects in kept.values()]
  arrays = {
      "names": np.frombuffer("\0".join(kept).encode("utf-8", "surrogateescape"), np.uint8),
      "files": np.array([(*stamp, *o.size, len(o.box)) for stamp, o in kept.values()], np.int64),
      "box": np.concatenate([o.box for o in own]),
      "objects": np.stack([np.concatenate([getattr(o, key) for o in own]) for key in ("label", "track")], 1,
                          dtype=np.int64)}
  with contextlib.suppress(OSError), writing.whole(file) as temporary:
    with open(temporary, "wb") as f:
      np.savez(f, **arrays)
