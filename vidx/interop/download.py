"""A file from an address: once, resumed where it broke off, checked, and given up where nothing comes."""

import contextlib
import http.client
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from vidx import errors, places, reading, terminal
from vidx.terminal import counted

OFFLINE, MIRROR = "VIDX_OFFLINE", "VIDX_MIRROR"
TIMEOUT_S = 30.0  # nothing, or less than SLOWEST, for so long: the connection is given up
SLOWEST = 1024  # bytes per second
ATTEMPTS = 4  # in a row that bring less than WORTH
WORTH = 64 * 1024  # bytes that an attempt has to bring to count as none of them
PAUSE_S = 1.0  # before the second attempt, twice as long before each further one
MOST = 16 << 30  # bytes of a file whose size nobody states
_CHUNK = 1 << 20
_SAY_S = 10.0  # between lines of progress where there is no terminal


class _Broken(Exception):
  """An attempt that may be repeated; its text says what happened."""


def mirrored(address: str) -> str:
  """The address, or where a mirror has it: VIDX_MIRROR, and the address without its scheme.

  Raises:
    ConfigError: a mirror that is no address.
  """
  prefix = os.environ.get(MIRROR, "")
  if not prefix:
    return address
  if not prefix.startswith(("http://", "https://")):
    raise errors.ConfigError(f"{MIRROR}={prefix} is no address: it begins with https:// or http://.")
  return f"{prefix.rstrip('/')}/{address.partition('://')[2]}"


def fetch(address: str, path: str, what: str, *, sha256: str = "", size: int = 0) -> str:
  """Downloads a file, unless it is there; what came of an earlier attempt is gone on with.

  Args:
    address: without a mirror's prefix.
    path: of the file in the cache; it is there whole or not at all.
    what: it is called in messages.
    sha256: its first digits, or ''.
    size: about how many bytes it has, or 0.

  Returns:
    `path`.

  Raises:
    UserError: it is not there and cannot be got: offline, no network, a server that does not have it, or one that sends
      something else.
  """
  if os.path.exists(path):
    return path
  where = mirrored(address)
  remedy = f"put the file there yourself as {path}, or name a mirror by {MIRROR}"
  if os.environ.get(OFFLINE, "0") not in ("", "0"):
    raise errors.UserError(f"{what} is not in the cache, and nothing is downloaded offline: {remedy}.")
  with places.held(path, f"waiting for another process that downloads {what}"):
    if os.path.exists(path):
      return path
    part = path + ".part"
    failed, pause, clean, reached = 0, PAUSE_S, False, _size(part)
    while True:
      before = _size(part)
      try:
        _attempt(where, part, what, size)
        found = reading.sha256(part)
        if found.startswith(sha256):
          break
        _forget(part)
        if clean or not before:  # all of it came in one piece, and is another file
          raise errors.UserError(f"{what}: {where} sends a file with the SHA-256 {found}, not {sha256}...; it is not"
                                 f" the one that was published, and nothing of it is kept. To go on, {remedy}.")
        clean = True
      except _Broken as e:
        # What is loaded once more is no progress: a server that states a wrong size would go on for ever.
        failed = 0 if _size(part) - reached >= WORTH else failed + 1
        reached = max(reached, _size(part))
        if failed >= ATTEMPTS:
          kept = _size(part)
          raise errors.UserError(f"{what} cannot be downloaded from {where}: {e}"
                                 + (f" ({kept / 2**20:.1f} MiB are kept; the same command goes on from there)"
                                    if kept else "") + f". Without this network, {remedy}.") from e
        if failed:
          time.sleep(pause)
          pause *= 2
      except OSError as e:
        raise errors.UserError(f"{what} cannot be written to {part}: {(e.strerror or str(e)).lower()}; free space, or"
                               f" name another folder by {places.CACHE}.") from e
    os.replace(part, path)
    _forget(part)
  return path


def _attempt(where: str, part: str, what: str, size: int) -> None:
  """One connection: brings the rest of the file, or raises _Broken."""
  have, known = _size(part), _kept(part)
  if have and not known:  # nothing says of what it is the beginning
    _forget(part)
    have = 0
  headers = {"User-Agent": "vidx", "Accept-Encoding": "identity"}
  if have:
    headers |= {"Range": f"bytes={have}-", **({"If-Range": known["tag"]} if known.get("tag") else {})}
  try:
    with urllib.request.urlopen(urllib.request.Request(where, headers=headers), timeout=TIMEOUT_S) as answer:
      start, total = _extent(answer, have)
      if have and (start != have or known.get("total") not in (None, total)):
        _forget(part)
        if start:
          raise _Broken("the server answers with another part of the file than it was asked for")
        have = 0
      _check(where, part, total, have, size, what)
      _keep(part, {"tag": _tag(answer), "total": total})
      _copy(answer, part, have, total, what)
  except urllib.error.HTTPError as e:
    if e.code == 416:  # what is kept is no beginning of this file
      _forget(part)
      raise _Broken("the server has no such part of the file") from e
    if e.code in (408, 425, 429) or e.code >= 500:
      raise _Broken(f"the server answers {e.code} {e.reason}") from e
    raise errors.UserError(f"{what} cannot be downloaded from {where}: the server answers {e.code} {e.reason}. Name a"
                           f" mirror by {MIRROR} if it is known elsewhere.") from e
  except urllib.error.URLError as e:
    raise _Broken(f"no connection ({_words(e.reason)})") from e
  except (TimeoutError, http.client.HTTPException, ConnectionError, ValueError) as e:
    raise _Broken(f"nothing came for {TIMEOUT_S:g} s" if isinstance(e, TimeoutError) else _words(e)) from e


def _extent(answer, have: int) -> tuple[int, int | None]:
  """(first byte, size of the whole file or None) of an answer."""
  length = answer.headers.get("Content-Length")
  length = int(length) if length is not None else None
  if length is not None and length < 0:
    raise _Broken(f"the server speaks of {counted(length, 'byte')}")
  if answer.status != 206:
    return 0, length
  unit, _, rest = answer.headers.get("Content-Range", "").partition(" ")
  first, _, total = rest.partition("/")
  try:
    start = int(first.partition("-")[0])
    return start, (int(total) if total != "*" else None if length is None else start + length)
  except ValueError:
    raise _Broken(f"the server's answer to a request for a part cannot be understood ({unit} {rest})") from None


def _check(where: str, part: str, total: int | None, have: int, size: int, what: str) -> None:
  """Refuses a file that cannot be the one, or for which there is no room."""
  most = size + size // 20 + (1 << 20) if size else MOST
  if total is not None and total > most:
    other = f"not the {size / 2**20:.1f} that were published" if size else "more than any file of weights has"
    raise errors.UserError(f"{what}: {where} would send {total / 2**20:.0f} MiB, {other}; it is not downloaded. Another"
                           f" mirror is named by {MIRROR}.")
  free = shutil.disk_usage(os.path.dirname(part)).free
  if (total or size) - have > free:
    raise errors.UserError(f"{what} needs {((total or size) - have) / 2**20:.0f} MiB, and {free / 2**20:.0f} are free"
                           f" in {os.path.dirname(part)}: free space, or name another folder by {places.CACHE}.")


def _copy(answer, part: str, have: int, total: int | None, what: str) -> None:
  """Appends what comes, until it is complete."""
  progress = _Progress(what, have, total)
  began = time.monotonic()
  window, came = began, 0
  with open(part, "r+b" if have else "wb") as f, contextlib.closing(progress):
    f.seek(have)
    while chunk := answer.read1(_CHUNK):
      f.write(chunk)
      have, came = have + len(chunk), came + len(chunk)
      if have > (total if total is not None else MOST):
        f.truncate(0)
        raise _Broken("the server sends more than the whole file")
      progress.at(have)
      now = time.monotonic()
      if now - window >= TIMEOUT_S:
        if came < SLOWEST * (now - window):
          raise _Broken(f"{counted(came, 'byte')} came in {now - window:.0f} s")
        window, came = now, 0
  if total is not None and have < total:
    raise _Broken(f"the server broke off after {have / 2**20:.1f} of {total / 2**20:.1f} MiB")


class _Progress:
  """How far it is: a bar on a terminal, a line now and then elsewhere."""

  def __init__(self, what: str, have: int, total: int | None):
    self._what, self._total, self._bar, self._said = what, total, None, time.monotonic()
    if sys.stderr.isatty():
      from rich import console, progress
      self._bar = progress.Progress(progress.TextColumn("{task.description}"), progress.BarColumn(),
                                    progress.DownloadColumn(), progress.TransferSpeedColumn(),
                                    progress.TimeRemainingColumn(),
                                    console=console.Console(file=terminal.drawing(sys.stderr)))
      self._bar.start()
      self._task = self._bar.add_task(what, total=total, completed=have)
    else:
      begun = f", from {have / 2**20:.1f} on" if have else ""
      print(f"downloading {what}" + (f", {total / 2**20:.1f} MiB{begun}" if total else ""), flush=True)

  def at(self, have: int) -> None:
    """So many bytes are there."""
    if self._bar is not None:
      self._bar.update(self._task, completed=have)
    elif time.monotonic() - self._said >= _SAY_S:
      self._said = time.monotonic()
      share = f" of {self._total / 2**20:.1f}" if self._total else ""
      print(f"  {self._what}: {have / 2**20:.1f}{share} MiB", flush=True)

  def close(self) -> None:
    if self._bar is not None:
      self._bar.stop()


def _tag(answer) -> str:
  """What tells this version of a file from others: a strong ETag, or the date of its last change."""
  tag = answer.headers.get("ETag", "")
  return tag if tag and not tag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _keep(part: str, facts: dict) -> None:
  with open(part + ".json", "w", encoding="utf-8") as f:
    json.dump(facts, f)


def _kept(part: str) -> dict:
  try:
    with open(part + ".json", encoding="utf-8") as f:
      found = json.load(f)
    return found if isinstance(found, dict) else {}
  except (OSError, ValueError):
    return {}


def _forget(part: str) -> None:
  for name in (part, part + ".json"):
    with contextlib.suppress(FileNotFoundError):
      os.unlink(name)


def _size(path: str) -> int:
  try:
    return os.path.getsize(path)
  except OSError:
    return 0


def _words(e: object) -> str:
  text = " ".join(str(getattr(e, "strerror", None) or e or type(e).__name__).split())[:100]
  return text.lower() if text else type(e).__name__
