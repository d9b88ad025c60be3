"""Public weights by name as folders that everything here reads: downloaded once, converted once, kept in the cache."""

from collections.abc import Mapping
import hashlib
import os
from typing import Any
import urllib.parse

from vidx import errors, places
from vidx.interop import convert, download, files, published


def file_of(row: published.Published) -> str:
  """The path of a public file, which is downloaded where the cache does not have it.

  Raises:
    UserError: it cannot be got, or is no file of weights.
  """
  parts = urllib.parse.urlsplit(row.address)
  path = places.cache("weights", parts.netloc, *parts.path.strip("/").split("/"))
  had = os.path.exists(path)
  download.fetch(row.address, path, row.name, sha256=row.sha256, size=int(row.mib * 2**20))
  if not had and not row.sha256:  # a page that asks for a login is a file, too
    try:
      files.read_state(path)
    except errors.CheckpointError as e:
      os.unlink(path)
      raise errors.UserError(f"{row.name}: what {download.mirrored(row.address)} sends is no file of weights, and is"
                             f" not kept: {str(e).partition(path)[2].lstrip(' :') or e}") from e
  return path


def folder_of(name: str) -> str:
  """The folder with the converted weights of a public checkpoint; made where the cache does not have it.

  Args:
    name: of `published.ROWS`, such as 'torchvision:r3d_18'.

  Raises:
    ConfigError: no such name.
    UserError: it cannot be got.
  """
  row = published.find(name)
  # A row that changes, by a correction of this table for one, is another conversion.
  version = hashlib.sha256(repr((row.model, sorted(row.fields.items()), row.address, row.rules)).encode()).hexdigest()
  folder = places.cache("converted", f"{row.name.replace(':', '-')}-{version[:8]}")
  if os.path.exists(os.path.join(folder, convert.RECORD)):
    return folder
  file = file_of(row)
  with places.held(folder, f"waiting for another process that converts {row.name}"):
    if not os.path.exists(os.path.join(folder, convert.RECORD)):
      convert.from_file(row.rules, file, folder, model=row.model, fields=row.fields)
  return folder


def main(name: str, out: str, *, model: str = "", fields: Mapping[str, Any] | None = None, **options: Any) -> None:
  """`vidx convert NAME OUT`: `convert.from_file` of a public checkpoint, and what was done.

  Args:
    name: of `published.ROWS`.
    out: the folder to write.
    model: another one than that of the row.
    fields: of the model, over those of the row.
    **options: of `convert.from_file`.
  """
  row = published.find(name)
  own = row.fields if model in ("", row.model) else {}
  model = model or row.model
  convert.check_free(out, bool(options.get("overwrite")))  # before a download of an hour
  report = convert.from_file(row.rules, file_of(row), out, model=model, fields={**own, **(fields or {})}, **options)
  convert.show(report, model, row.rules, out)
  print(f"{name}: licence {row.licence}" + (f", {row.top1:g} % top-1 as published" if row.top1 else ""))


def table(pattern: str = "*") -> str:
  """The public checkpoints that match a glob pattern, for reading."""
  cells = [["name", "model", "learned", "top-1", "MiB", "SHA-256", "licence"]] + [
      [r.name, r.model, r.dataset, f"{r.top1:.1f}" if r.top1 else "", f"{r.mib:.1f}" if r.mib else "", r.sha256,
       r.licence] for r in published.matching(pattern)]
  widths = [max(map(len, column)) for column in zip(*cells)]
  return "\n".join("  ".join(c.rjust(w) if i in (3, 4) else c.ljust(w)
                             for i, (c, w) in enumerate(zip(row, widths))).rstrip() for row in cells)
