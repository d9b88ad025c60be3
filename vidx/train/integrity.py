"""Checksums of checkpoints: what a disk or a copy damaged is told from what is whole.

Beside the checkpoints of a workdir, WORKDIR/checksums/<step>.json holds the size and
the digest of every file of a step, and a digest of its own. It is written once the
step has got its final name. Checkpoints without one, of earlier versions, are taken
as they are.
"""

import hashlib
import json
import os
import threading
from typing import Any

from vidx import errors, reading, writing
from vidx.terminal import counted

FOLDER = "checksums"
DAMAGED = "damaged"  # where damaged checkpoints are put aside
_BLOCK = 1 << 22
_SECONDS = 0.02  # between two looks for a finished checkpoint


def _path(checkpoints: str, step: int) -> str:
  return os.path.join(os.path.dirname(checkpoints), FOLDER, f"{step}.json")


def _digest(path: str) -> str:
  found = hashlib.blake2b(digest_size=16)
  with open(path, "rb") as f:
    while block := f.read(_BLOCK):
      found.update(block)
  return found.hexdigest()


def _own(files: Any) -> str:
  return hashlib.blake2b(json.dumps(files, sort_keys=True).encode(), digest_size=16).hexdigest()


def _files(folder: str) -> list[str]:
  """Paths of all files below a folder, relative to it."""
  return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def seal(checkpoints: str, step: int) -> None:
  """Writes the checksums of a finished checkpoint."""
  folder = os.path.join(checkpoints, str(step))
  try:
    files = {name: [os.path.getsize(os.path.join(folder, name)), _digest(os.path.join(folder, name))]
             for name in _files(folder)}
    if not files:
      return
    writing.write_json(_path(checkpoints, step), {"files": files, "digest": _own(files)})
  except OSError:
    return  # it was removed meanwhile, or there is no room: then it has none


def prune(checkpoints: str) -> None:
  """Removes the checksums of checkpoints that are gone."""
  beside = os.path.join(os.path.dirname(checkpoints), FOLDER)
  for name in os.listdir(beside) if os.path.isdir(beside) else ():
    stem, ending = os.path.splitext(name)
    if ending == ".json" and stem.isdigit() and not os.path.isdir(os.path.join(checkpoints, stem)):
      os.unlink(os.path.join(beside, name))


def damage(checkpoints: str, step: int) -> str:
  """What is wrong with a checkpoint, in words that follow "damaged: "; empty where nothing is, or nothing is known."""
  path, folder = _path(checkpoints, step), os.path.join(checkpoints, str(step))
  if not os.path.exists(path):
    return ""
  try:
    with reading.open_text(path) as f:
      known = json.load(f)
    files = known["files"]
    if known["digest"] != _own(files):
      return f"its checksums {path} are not what was written"
    expected = {name: (int(size), str(digest)) for name, (size, digest) in files.items()}
  except (OSError, ValueError, KeyError, TypeError, AttributeError):
    return f"its checksums {path} cannot be read"
  for name, (size, digest) in sorted(expected.items()):
    file = os.path.join(folder, name)
    try:
      if os.path.getsize(file) != size:
        return f"{name} has {counted(os.path.getsize(file), 'byte')}, not {size:,}"
      if _digest(file) != digest:
        return f"{name} is not what was written"
    except FileNotFoundError:
      return f"{name} is missing"
    except OSError as e:
      return f"{name} cannot be read ({e.strerror})"
  return ""


def steps(checkpoints: str) -> list[int]:
  """Steps whose checkpoints have their final name."""
  return sorted(int(n) for n in os.listdir(checkpoints) if n.isdigit()) if os.path.isdir(checkpoints) else []


def damages(checkpoints: str) -> dict[int, str]:
  """What is wrong with checkpoints, by step, the newest first.

  Raises:
    CheckpointError: none is whole; they stay where they are.
  """
  found = {step: damage(checkpoints, step) for step in reversed(steps(checkpoints))}
  wrong = {step: reason for step, reason in found.items() if reason}
  if wrong and len(wrong) == len(found):
    listed = "; ".join(f"step {step}: {reason}" for step, reason in wrong.items())
    raise errors.CheckpointError(f"no checkpoint in {checkpoints} is whole, all are damaged ({listed}): bring back a"
                                 " copy of that folder, or choose another --workdir.")
  return wrong


def unsealed(checkpoints: str) -> list[int]:
  """Steps without checksums where others have some: of a run that was ended before it could write them, or lost."""
  if not os.path.isdir(os.path.join(os.path.dirname(checkpoints), FOLDER)):
    return []
  return [step for step in steps(checkpoints) if not os.path.exists(_path(checkpoints, step))]


def put_aside(checkpoints: str, step: int) -> str:
  """Moves a damaged checkpoint and its checksums to WORKDIR/damaged; where it is then."""
  target = os.path.join(os.path.dirname(checkpoints), DAMAGED, str(step))
  os.makedirs(os.path.dirname(target), exist_ok=True)
  number = next(i for i in range(10 ** 6) if not os.path.exists(f"{target}.{i}" if i else target))
  target = f"{target}.{number}" if number else target
  os.rename(os.path.join(checkpoints, str(step)), target)
  if os.path.exists(_path(checkpoints, step)):
    os.replace(_path(checkpoints, step), target + ".json")
  return target


class Sealer:
  """Seals checkpoints in the background, each as soon as it has its final name."""

  def __init__(self, checkpoints: str):
    self._checkpoints, self._waiting = checkpoints, []

  def expect(self, step: int) -> None:
    """A save of this step has begun."""
    given_up = threading.Event()
    thread = threading.Thread(target=self._watch, args=(step, given_up), daemon=True)
    thread.start()
    self._waiting.append((thread, given_up))

  def finish(self) -> None:
    """Returns once everything that was saved is sealed; what never got its name is given up."""
    for thread, given_up in self._waiting:
      given_up.set()
      thread.join()
    self._waiting = []
    prune(self._checkpoints)

  def _watch(self, step: int, given_up: threading.Event) -> None:
    folder = os.path.join(self._checkpoints, str(step))
    last = False
    while not os.path.isdir(folder):
      if last:
        return
      last = given_up.wait(_SECONDS)  # one more look after that
    seal(self._checkpoints, step)
