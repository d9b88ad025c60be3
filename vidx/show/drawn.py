"""Predictions that have a way of their own to be drawn: boxes of every frame, and what people in boxes do."""

from collections.abc import Mapping, Sequence
import os
import types
from typing import Any

from vidx import writing
from vidx.infer import kinds, load, predict, predict_boxes
from vidx.show import maps, page, people, told, tracks

LEAST = 0.3  # score from which a box is told


def main(loaded: load.Loaded, paths: Sequence[str], *, show: str = "", out: str = "", json: bool = False,
         workdir: str = "", top: int = 5, boxes: str = "", windows: str = "", threshold: float = 0.0) -> int:
  """Prints what videos show and, where asked for, writes it as files or draws it; the exit status.

  Args:
    loaded: a run that finds boxes, or tells what people in boxes do.
    paths: files, folders and globs.
    show: kinds of pictures, with commas; '' for none.
    out: JSON file to write, .csv beside it; with `show` the folder of the pictures, WORKDIR/maps.
    json: whether JSON is printed.
    workdir: of the run.
    top: actions per person.
    boxes: see `vidx.infer.predict_people.predict`.
    windows: see `vidx.infer.detect.how`.
    threshold: score from which a box is told; 0: 0.3.
  """
  words = kinds.words(show)
  if predict_boxes.applies(loaded):
    drawing, asked, title = tracks, "runs that find boxes", "what there is in every frame"
    options = dict(windows=windows, threshold=threshold or LEAST, memory=kinds.MEMORY in words)
  else:
    drawing, asked, title, options = people, "people in --boxes", "what people do", dict(top=top, boxes=boxes)
  if show:
    kinds.check(words, asked)
  found = predict.predict_loaded(loaded, paths, **options)
  draw = lambda: write(found, drawing, out or os.path.join(workdir, "maps"),
                       f"{loaded.config.system.name}, step {loaded.step}: {title}")
  return told.tell(found, json=json, out=out, draw=draw if show else None, drawn="pictures")


def write(found: Sequence[Mapping[str, Any]], drawing: types.ModuleType, folder: str, title: str) -> str:
  """Writes NAME.png and NAME.mp4 of each video, and index.html with all of them inside.

  Args:
    found: entries of `vidx.infer.predict.predict_loaded`.
    drawing: `people` or `tracks`, whose `pictures_of` makes the sheet and the film of an entry.
    folder: where; made where there is none.
    title: of the page.

  Returns:
    The path of the page.
  """
  shown = []
  for entry, name in zip(found, writing.file_names([f["path"] for f in found])):
    kept = {} if entry["error"] else maps.keep(folder, name, *drawing.pictures_of(entry))
    shown.append({"path": entry["path"], "error": entry["error"], "problems": entry.get("problems", ()), **kept})
  path = os.path.join(folder, "index.html")
  page.write(path, drawing.PAGE, title=title, videos=shown)
  return path
