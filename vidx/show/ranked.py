"""Videos ranked for a text, as a page with their clips."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from vidx.infer import kinds, retrieve
from vidx.show import centres, clips, page, told


def main(loaded: Any, text: str, paths: Sequence[str], *, top: int, index: str, json: bool, show: str, out: str,
         workdir: str) -> int:
  """`vidx predict --text`: prints what was found, and writes it as JSON or, with --show, as a page."""
  kinds.check_one(show, "--text")
  found = retrieve.rank(loaded, [text], paths, top=top, index=index)
  at = out or os.path.join(workdir, f"{show}.html")
  title = f"{loaded.config.system.name}, step {loaded.step}: videos for a text"

  draw = lambda: write(found, at, title) if show == kinds.RANKED else centres.write(loaded, found, at, title)
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
  shown = [{**entry, "found": [{**f, **clips.clip_of(f["path"])} for f in entry["found"]]} for entry in found]
  page.write(path, "ranked.html", title=title, texts=shown)
  return path
