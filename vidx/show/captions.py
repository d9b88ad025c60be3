"""Sentences about videos as a page: the clips, and each word the darker the wider it opens its gate."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from vidx.infer import captions, kinds
from vidx.show import clips, page, told


def main(loaded: Any, paths: Sequence[str], *, json: bool, show: str, out: str, workdir: str) -> int:
  """`vidx predict` of a captioner: prints sentences; writes them as JSON and csv, or with --show=words as a page."""
  kinds.check_one(show, "sentences")
  found = captions.predict(loaded, paths)
  at = os.path.join(out, "index.html") if out else os.path.join(workdir, "captions.html")
  title = f"{loaded.config.system.name}, step {loaded.step}: what it says"
  return told.tell(found, json=json, out=out, draw=(lambda: write(found, at, title)) if show else None)


def write(found: Sequence[Mapping[str, Any]], path: str, title: str) -> str:
  """Writes the page of what `vidx.infer.captions.predict` found; its path."""
  shown = [{**f, **_words(f), **clips.clip_of(f["path"])} for f in found]
  page.write(path, "captions.html", title=title, videos=shown)
  return path


def _words(entry: Mapping[str, Any]) -> dict[str, Any]:
  """{'words': [(word, share of the widest gate of the sentence, the gate)]}."""
  gates = entry.get("gates") or []
  most = max([*gates, 1e-9])
  return {"words": [(w, round(g / most, 3), g) for w, g in zip(entry.get("caption", "").split(), gates)]}
