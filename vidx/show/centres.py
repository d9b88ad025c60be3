"""Which words and which experts the centres of a retrieval run take, as a page beside the clips."""

from collections.abc import Mapping, Sequence
from typing import Any

from vidx.infer import centres
from vidx.show import clips, page


def write(loaded: Any, found: Sequence[Mapping[str, Any]], path: str, title: str) -> str:
  """Writes the page of what `vidx.infer.retrieve.rank` found; its path."""
  shown = []
  for entry in found:
    taken = centres.taken(loaded, entry["text"], [f["path"] for f in entry["found"]])
    heads = [*range(1, taken["centres"] + 1), *["none"] * taken["background"]]
    videos = [{**f, **clips.clip_of(f["path"]), "rows": list(of.items())}
              for f, of in zip(entry["found"], taken["videos"])]
    shown.append({"text": entry["text"], "heads": heads, "rows": taken["words"], "found": videos})
  page.write(path, "centres.html", title=title, texts=shown)
  return path
