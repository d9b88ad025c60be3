"""Verbs that make, check and convert data: `vidx data ...`."""

import importlib
import os

from vidx import errors
from vidx.command import flag_text, process
from vidx.command.verb import (
    OUT, STEP, STRIDE, WINDOW, WORKDIR, Verb, every as _all, integer as _integer, number as _number, show,
    string as _string)


def _data_build(fv, args, overrides):
  from vidx.data import build
  summary = build.build(fv.dataset, fv.root, fv.out, beam_runner=fv.beam_runner, shards=fv.shards,
                        **flag_text.options((build.build,), args, fv))
  print("\n".join(build.lines(summary)))


def _data_prepare(fv, args, overrides):
  from vidx.data import prepare
  return _shown(prepare.prepare(fv.root, fv.out, short_side=fv.short_side, gop=fv.gop, workers=fv.workers))


def _data_flow(fv, args, overrides):
  if not args:
    raise errors.ConfigError("no videos: name files, folders of videos or folders of frames.")
  if not fv.out:
    raise errors.ConfigError("no out: add --out=FOLDER.")
  from vidx.data import flow_extraction
  return _shown(flow_extraction.extract(args, fv.out, method=fv.method, short_side=fv.short_side, bound=fv.bound,
                                        workers=fv.workers))


def _shown(summary) -> int:
  """Prints what was done with videos, and those with which nothing could be; the status of the command."""
  bad = summary.pop("bad")
  show(summary)
  for path, reason in bad.items():
    print(f"bad: {path}: {reason.removeprefix(f'{path}: ')}")
  good = sum(summary.get(done, 0) for done in ("encoded", "linked", "written", "kept"))
  return errors.status([True] * len(bad) + [False] * good)


def _data_features(fv, args, overrides):
  for flag in ("workdir", "root", "out"):
    if not fv[flag].value:
      raise errors.ConfigError(f"no {flag}: add --{flag}=FOLDER.")
  process.start_jax()
  from vidx.infer import features
  summary = features.extract(fv.workdir, fv.root, fv.out, window=fv.window, stride=fv.stride, batch_size=fv.batch,
                             step=flag_text.step(fv.step))
  return _shown(summary)


def _converted(module: str):
  """The verb that turns published files into those that readers take, by a module of vidx.data."""
  return lambda fv, args, overrides: show(
      importlib.import_module(f"vidx.data.{module}").convert(fv.root, fv.out, fv.names))


def _data_detections(fv, args, overrides):
  from vidx.data import detection_files
  show(detection_files.convert(fv.root, fv.out, **flag_text.options((detection_files.convert,), args, fv)))


def _data_crops(fv, args, overrides):
  from vidx.data import crops
  show(crops.convert(fv.root, fv.out, **flag_text.options((crops.convert,), args, fv)))


def _data_vocabulary(fv, args, overrides):
  from vidx.data import vocabulary
  show(vocabulary.build(fv.dataset, fv.root, fv.out, fv.split or "train",
                         **flag_text.options((vocabulary.build,), args, fv)))


def _data_triplets(fv, args, overrides):
  if not fv.root:
    raise errors.ConfigError("no root: add --root=FOLDER.")
  process.start_jax()
  from vidx.infer import triplets
  show(triplets.build(fv.root, fv.split or "train", workdir=fv.workdir,
                       **flag_text.options((triplets.build,), args, fv)))


def _data_check(fv, args, overrides):
  from vidx.data import check
  return check.main(fv.dataset, fv.root, fv.split, **flag_text.options((check.main, check.check), args, fv))


def _data_fuzz(fv, args, overrides):
  from vidx.data import fuzz
  return fuzz.main(fv.minutes, fv.seed, fv.out, fv.kinds, fv.files)


def _data_toybox(fv, args, overrides):
  from vidx.data import toybox
  show(toybox.build(fv.out, labels=fv.labels, layout=fv.layout, seed=fv.seed, workers=fv.workers,
                     **flag_text.options((toybox.build,), args, fv)))


_ROOT = _string("root", "", "folder of the data set")
_READER = _string("dataset", "folder", "reader: folder, videos, csv, ucf101, hmdb51, kinetics, ssv1, ssv2, hvu, ...")
_WORKERS = _integer("workers", os.cpu_count() or 1, "processes", 0)

VERBS: dict[str, Verb] = {
    "data toybox": Verb(
        "render the embedded data set", "--out=FOLDER [--labels=motion] [option=value ...]",
        _all(OUT, _string("labels", "motion",
                           "motion, appearance, biased, tags, needle, redundant, cluttered, untrimmed, kitchen,"
                           " noisy_tags, conjunction, hands, tones, beats, sentences, tracks, acts or turntable"),
             _string("layout", "",
                     "folder, csv, ucf101, hvu, nn_viterbi, ms_tcn, msrvtt, epic100, imagenet_vid, ava, clips or coco;"
                     " empty: as the labels need"),
             _integer("seed", 0, "random seed"), _WORKERS), _data_toybox),
    "data features": Verb(
        "features of every frame of videos, from a trained trunk",
        "--workdir=TRUNK --root=VIDEOS --out=FOLDER [--window=21] [--stride=1]",
        _all(WORKDIR, _ROOT, OUT, STEP, WINDOW, STRIDE, _integer("batch", 8, "windows at once", 1)),
        _data_features, words=False),
    "data flow": Verb(
        "images of optical flow between the frames of videos, for two streams",
        "PATH [PATH ...] --out=FOLDER [--method=dis] [--short_side=256] [--bound=20]",
        _all(OUT, _string("method", "dis", "dis, dense inverse search, or tvl1, which needs OpenCV's contributed"
                          " modules"),
             _integer("short_side", 256, "pixels at most of the frames; 0: as they are", 0),
             _number("bound", 20.0, "pixels of motion that become 0 and 255; more is clipped"), _WORKERS), _data_flow),
    "data scores": Verb(
        "published frame scores (.mat files per fold) as features, for the reader ms_tcn",
        "--root=FOLDER --out=FOLDER [--names=FILE]",
        _all(_ROOT, OUT, _string("names", "", "file of class names from 1 on, one a line")),
        _converted("score_files"), words=False),
    "data detections": Verb(
        "objects that a detector found, as one store per video, for the systems that look at them",
        "--root=PATH --out=FOLDER [width=1920 height=1080 fps=60 count=10 size=2048]",
        _all(_ROOT, OUT), _data_detections),
    "data experts": Verb(
        "published features of experts as files for retrieval", "--root=PATH --out=FOLDER [--names=rgb,audio]",
        _all(_ROOT, OUT, _string("names", "", "only these experts; empty: all")), _converted("expert_files"),
        words=False),
    "data crops": Verb("crops of objects: clips from YouTube-BoundingBoxes, EPFL's cars by azimuth",
                       "--root=FOLDER --out=FOLDER [source=ytbb|epfl_cars] [name=car] [least=16]",
                       _all(_ROOT, OUT), _data_crops),
    "data vocabulary": Verb(
        "the words of a data set's captions as a file, for systems that read texts",
        "--dataset=coco --root=FOLDER [--out=FILE] [least=5 most=10000 option=value ...]",
        _all(_READER, _ROOT, _string("out", "", "file to write; ROOT/vocab.txt"),
             _string("split", "train", "split of the data set")), _data_vocabulary),
    "data triplets": Verb(
        "triplets of identity, pose and target from clips in folders of images, for the systems that make images",
        "--root=FOLDER [--split=train] [--workdir=TRUNK] [count=N clusters=20 balance=True site=conv4.2 seed=0]",
        _all(_ROOT, _string("split", "train", "split: the folder below clips/"),
             _string("workdir", "", "trunk whose features tell poses; empty: histograms of oriented gradients")),
        _data_triplets),
    "data check": Verb("verify a data set and list every bad file",
                       "--dataset=READER --root=FOLDER [--split=train] [option=value ...]",
                       _all(_READER, _ROOT, _string("split", "", "one split; empty: all")), _data_check),
    "data fuzz": Verb("read intact and spoilt files in every way, against a reading from start to end",
                      "[--minutes=M] [--seed=N] [--out=FOLDER] [--files=PATTERN]",
                      _all(_number("minutes", 1.0, "how long spoilt files are tried, after all intact ones"),
                           _integer("seed", 0, "of the files and of what is done to them"),
                           _string("out", "", "folder for the files that failed and for fuzz.json; empty: none"),
                           _string("kinds", "", "video, annotations, features, array_records, configs, weights or"
                                   " results, several with commas; empty: all"),
                           _string("files", "*", "names of intact files, such as 'h264*.mp4'")),
                      _data_fuzz, words=False),
    "data prepare": Verb("re-encode a data set for quick random access", "--root=FOLDER --out=FOLDER",
                         _all(_ROOT, OUT, _integer("short_side", 256, "pixels"),
                              _integer("gop", 8, "frames between key frames"), _WORKERS), _data_prepare, words=False),
    "data build": Verb("write a data set as ArrayRecord files",
                       "--dataset=READER --root=FOLDER --out=FOLDER [option=value ...]",
                       _all(_READER, _ROOT, OUT, _integer("shards", 0, "files per split; 0: by size", 0),
                            _string("beam_runner", "", "run on Apache Beam, such as DirectRunner")), _data_build),
}
