"""Videos ranked for a text, as a page with their clips."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from vidx import errors
from vidx.data import media_files
from vidx.data.records import media_of
from vidx.infer import retrieve
from vidx.show import clips, page, told

KINDS = ("ranked", "centres")


def main(loaded: Any, text: str, paths: Sequence[str], *, top: int, index: str, json: bool, show: str, out: str,
         workdir: str) -> int:
  """`vidx predict --text`: prints what was found, and writes it as JSON or, with --show of KINDS, as a page."""
  if show not in ("", *KINDS):
    raise errors.ConfigError(f"--show={show}: with --text it is {' or '.join(KINDS)}{errors.hint(show, KINDS)}.")
  found = retrieve.rank(loaded, [text], paths, top=top, index=index)
  at = out or os.path.join(workdir, f"{show}.html")
  title = f"{loaded.config.system.name}, step {loaded.step}: videos for a text"

  def draw():
    if show == "ranked":
      return write(found, at, title)
    from vidx.show import centres  # which has clips as this page does
    return centres.write(loaded, found, at, title)

  return told.tell(found, json=json, out=out, draw=draw if show else None, table=retrieve.to_table)


def write(found: Sequence[Mapping[str, Any]], path: str, title: str) -> str:
  """Writes the page.

  Args:
    found: of `vidx.infer.retrieve.rank`.
    path: of the page.
    title: of it.

  Returns:
    `path`.
  """
  shown = [{**entry, "found": [{**f, **clip_of(f["path"])} for f in entry["found"]]} for entry in found]
  page.write(path, "ranked.html", title=title, texts=shown)
  return path


def clip_of(path: str) -> dict[str, str]:
  """A video's clip, or why there is none; files of features have no pictures."""
  if not media_files.is_video(path):
    return {"clip": "", "problem": ""}
  try:
    content, _ = clips.sample_clip(media_of(path))
    return {"clip": clips.data_uri(content, "video/mp4"), "problem": ""}
  except errors.DecodeError as e:
    return {"clip": "", "problem": str(e)}
