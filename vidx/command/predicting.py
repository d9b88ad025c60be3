"""Verbs that use a trained run on what is new: `vidx predict`, `vidx generate` and `vidx export`."""

import dataclasses
import os

from vidx import errors, writing
from vidx.command import flag_text, process
from vidx.command.verb import (
    CONFIG, JSON, OUT, STEP, STRIDE, VIEWS, WINDOW, WINDOWS, WORKDIR, Verb, every as _all, number as _number, show,
    integer as _integer, string as _string)
from vidx.data import media_files
from vidx.infer import kinds

# Flags of predict that belong to another, pairs of which one would not be read, and what kinds of runs read one.
_PREDICT_NEEDS = {"site": "show", "beside": "show", "index": "text"}
_PREDICT_APART = (("phrase", "text"), ("phrase", "index"))
_PREDICT_READERS = {
    "views": ("clips",), "trunk": ("features",), "window": ("features",), "stride": ("features",),
    "top": ("clips", "texts", "people"), "threshold": ("clips", "boxes"), "site": ("clips",), "beside": ("clips",),
    "windows": ("boxes",)}
_PREDICT_CSV = ("people", "boxes", "captions")  # kinds that are also told as a table, whatever the task


def _kind(fv, loaded) -> str:
  """What a run sees or is asked for, by which it reads flags of predict."""
  if fv.phrase or fv.text or fv.index:
    return "phrases" if fv.phrase else "texts"
  known = {"box_actions": "people", "detection": "boxes", "captioning": "captions"}
  return known.get(loaded.config.task.name, "features" if "features" in loaded.model.inputs else "clips")


def _check(fv, args):
  """Raises a UserError for what is wrong in the flags themselves, whatever the run: before it is loaded."""
  if not args:
    raise errors.DataError("no videos: name files, folders or globs after the flags.")
  folder = bool(fv.phrase or fv.show and not fv.text)
  if folder and os.path.isfile(fv.out):
    raise errors.ConfigError(f"--out={fv.out} is a file; with --show and --phrase it is the folder of the pictures.")
  if folder and os.path.splitext(fv.out)[1].lower() in (".json", ".csv", ".html"):
    raise errors.ConfigError(f"--out={fv.out}: with --show and --phrase it is the folder of the pictures; call predict"
                             " without them to write a file.")
  flag_text.together(fv, _PREDICT_NEEDS, _PREDICT_APART)
  for path in filter(None, (fv.out, fv.index)):
    writing.check_place(path, folder and path == fv.out)
  if folder and not fv.out and os.path.isdir(fv.workdir):
    writing.check_place(fv.workdir, folder=True)
  if not folder:
    flag_text.ending("out", fv.out, (".html",) if fv.show else (".json", ".csv"))
  if fv.phrase or fv.text:
    kinds.check_one(fv.show, "--phrase" if fv.phrase else "--text")
  if fv.show:
    kinds.check(kinds.words(fv.show))
  flag_text.files(boxes=fv.boxes)
  flag_text.runs(trunk=fv.trunk, beside=fv.beside)
  media_files.check(args)


def _predict(fv, args, overrides):
  _check(fv, args)
  (clips, crops), step = flag_text.views(fv.views), flag_text.step(fv.step)
  process.start_jax()
  from vidx.infer import ground, load, predict, retrieve
  flag_text.windows(fv.windows)
  if flag_text.is_set(fv, "phrase"):
    ground.split(fv.phrase)
  if flag_text.is_set(fv, "text"):
    retrieve.check([fv.text])
  loaded = load.load_checkpoint(fv.workdir, step, overrides)
  predict.check_boxes(loaded, fv.boxes)
  asked = "".join(f" with --{name}" for name in ("phrase", "text", "index") if fv[name].value)
  kind, system = _kind(fv, loaded), f"system '{loaded.config.system.name}'{asked}"
  flag_text.read_by(fv, _PREDICT_READERS, kind, system)
  if not fv.show and kind != "phrases" and kind not in _PREDICT_CSV and (
      kind == "texts" or not predict.has_table(loaded.task)):
    flag_text.ending("out", fv.out, (".json",), f": what {system} tells is no table")
  if kind == "phrases":
    from vidx.show import grounded
    return grounded.main(loaded, fv.phrase, args, json=fv.json, show=fv.show, out=fv.out, workdir=fv.workdir)
  if kind == "texts":
    from vidx.show import ranked
    return ranked.main(loaded, fv.text, args, top=fv.top, index=fv.index, json=fv.json, show=fv.show, out=fv.out,
                       workdir=fv.workdir)
  if kind in ("people", "boxes"):
    from vidx.show import drawn
    return drawn.main(loaded, args, show=fv.show, out=fv.out, json=fv.json, workdir=fv.workdir, top=fv.top,
                      boxes=fv.boxes, windows=fv.windows, threshold=fv.threshold)
  if kind == "captions":
    from vidx.show import captions
    return captions.main(loaded, args, json=fv.json, show=fv.show, out=fv.out, workdir=fv.workdir)
  if fv.show:
    if kind == "features":
      raise errors.ConfigError("--show draws what a system sees in clips;"
                               " of long videos `vidx report` shows timelines.")
    from vidx.infer import explain
    predict.check_asked(loaded)
    shown = kinds.words(fv.show)
    explainer = explain.Explainer(loaded, shown, fv.site)
    beside = explain.Explainer(load.load_checkpoint(fv.beside), shown) if fv.beside else lambda found: ()
  trunk = {name: fv[name].value for name in ("trunk", "window", "stride") if flag_text.is_set(fv, name)}
  if fv.threshold:
    loaded = dataclasses.replace(loaded, task=loaded.task.with_threshold(fv.threshold))
  found = predict.predict_loaded(loaded, args, clips=clips, crops=crops, top=fv.top, boxes=fv.boxes, **trunk)

  def draw():
    from vidx.show import maps
    return maps.write(explainer(found), found, fv.out or os.path.join(fv.workdir, "maps"),
                      f"{loaded.config.system.name}, step {loaded.step}: what it sees", beside(found))

  from vidx.show import told
  return told.tell(found, json=fv.json, out=fv.out, draw=draw if fv.show else None, drawn="pictures")


def _export(fv, args, overrides):
  step = flag_text.step(fv.step)
  process.start_jax()
  from vidx.infer import export
  export.main(fv.workdir, args, step, overrides)


def _generate(fv, args, overrides):
  step = flag_text.step(fv.step)
  process.start_jax()
  from vidx.infer import generate
  show(generate.generate(fv.workdir, fv.identities, fv.poses, fv.out, step, fv.boxes, overrides))


VERBS: dict[str, Verb] = {
    "predict": Verb(
        "name what videos show; status 1: some of them cannot be read, 2: none can, or the command is wrong",
        "--workdir=FOLDER [--show=KIND,...] [--trunk=FOLDER] [--text=TEXT] [--phrase=TEXT] PATH [PATH ...]",
        _all(WORKDIR, VIEWS, STEP, JSON, WINDOW, STRIDE, WINDOWS,
             _string("trunk", "", "run whose features of videos a run of long videos takes; not needed for .npy files"),
             _string("out", "",
                     "file to write: .json, of classes, segments, boxes, people and sentences with a .csv beside it, or"
                     " such a .csv alone; with --show the folder of pictures, WORKDIR/maps, and of --text the page,"
                     " .html"),
             _string("show", "", f"pictures, one kind or several with commas, {kinds.listed()}"),
             _string("boxes", "",
                     "csv of people in the videos, for a run that tells what each does; --show=people draws them"),
             _string("text", "", "sentence for which a run of retrieval ranks the videos; --show=ranked writes a page,"
                     " --show=centres one of which words and experts its centres take"),
             _string("phrase", "", "what to find in images and frames, several with semicolons: --out=FOLDER of masks"
                     " and pictures, WORKDIR/phrases; --show=phrases writes a page"),
             _string("index", "", "file that keeps the embeddings of the videos for the next --text"),
             _string("beside", "", "another run whose pictures --show puts below, such as one of optical flow"),
             _string("site", "",
                     "where gradcam looks; empty: the last site with a grid of features, of frames where it has one"),
             _number("threshold", 0.0,
                     "score from which a class is a tag, 0: as the run's task says; or a box is told, 0: 0.3", 0,
                     1),
             _integer("top", 5, "classes per video, or videos per text", 1)), _predict, CONFIG),
    "generate": Verb(
        "make images of the identities of some in the poses of others",
        "--workdir=FOLDER --identities=FOLDER --poses=FOLDER --out=FOLDER [--boxes=FILE]",
        _all(WORKDIR, STEP, OUT, _string("identities", "", "folder of images, or one"),
             _string("poses", "", "folder of images, or one"),
             _string("boxes", "", "csv file `photo,left,top,right,bottom`: the identities take the place of what is in"
                     " these boxes")), _generate, CONFIG, words=False),
    "export": Verb("write a run as a StableHLO program that needs no vidx: bytes of clips in, predictions out",
                   "--workdir=FOLDER OUT [--step=best]", _all(WORKDIR, STEP), _export, CONFIG),
}
