"""The command line: `vidx VERB ...`.

Each verb is one function that declares its flags, reads them and calls the
library; it imports what it needs when it runs, so `vidx --help` is quick.
"""

from collections.abc import Sequence
import os
import sys

from absl import flags

from vidx import errors, terminal, writing
from vidx.command import flag_text, measuring, predicting, preparing, process, proposing, usage
from vidx.command.verb import (
    CONFIG, JSON, STEP, VIEWS, WINDOWS, WORKDIR, Verb, every as _all, integer as _integer, string as _string,
    switch as _bool)
from vidx.terminal import counted
from vidx.train import stop


# ---------------------------------------------------------------- the verbs


def _train(fv, args, overrides):
  with stop.at_once():
    from vidx.train import config as config_lib
    if not fv.config:
      raise errors.ConfigError("no config: add --config=folder/tsm, another name of what comes along, or a file.")
    config = config_lib.override(config_lib.load_file(fv.config), overrides)
    if fv.print_config:
      print(config_lib.listed(config))
      return
    process.start_jax(fv.offline)
    if fv.dry_run:
      from vidx.train import dry_run
      dry_run.dry_run(config, fv.runs)
      return
    from vidx.train import loop
    terminal.go_on_unread()
    loop.train(config, fv.workdir, profile=fv.profile, runs=fv.runs)
  if fv.report:
    _write_report(fv.workdir)


# Flags of eval that belong to another, and pairs of which one would not be read.
_EVAL_NEEDS = {"weights": "fuse", "supervision": "submission"}
_EVAL_APART = (("fuse", "cluster"), ("fuse", "windows"), ("cluster", "windows"),
               ("judges", "fuse"), ("judges", "cluster"), ("judges", "windows"),
               ("submission", "cluster"), ("submission", "windows"), ("views", "windows"), ("batch_size", "windows"))


def _eval(fv, args, overrides):
  flag_text.together(fv, _EVAL_NEEDS, _EVAL_APART)
  if fv.split:
    from vidx.data import datasets
    errors.check_choice("--split", fv.split, datasets.SPLITS)
  flag_text.runs(fuse=fv.fuse.split(","))
  flag_text.files(cluster="" if fv.cluster == "all" else fv.cluster)
  flag_text.ending("submission", fv.submission, (".json", ".zip"))
  if os.path.isdir(fv.workdir):
    writing.check_place(os.path.join(fv.workdir, "eval"), folder=True)
  if fv.submission:
    writing.check_place(fv.submission)
  clips, crops = flag_text.views(fv.views)
  options = dict(split=fv.split, clips=clips, crops=crops, step=flag_text.step(fv.step),
                 batch_size=fv.batch_size or None, overrides=overrides)
  levels = flag_text.numbers("supervision", fv.supervision)
  process.start_jax()
  from vidx.infer import evaluate, submission
  submission.check_levels(levels)
  sent = dict(submission=fv.submission, supervision=tuple(map(int, levels)))
  flag_text.windows(fv.windows)
  if fv.fuse:
    from vidx.infer import fuse
    fuse.evaluate_fused([fv.workdir, *fv.fuse.split(",")], flag_text.numbers("weights", fv.weights), **options, **sent)
  elif fv.windows:
    from vidx.infer import predict_boxes
    predict_boxes.evaluate(fv.workdir, fv.split, windows=fv.windows, step=options["step"], overrides=overrides)
  elif fv.cluster:
    from vidx.infer import cluster
    cluster.cluster_workdir(fv.workdir, chosen=fv.cluster, **options)
  else:
    evaluate.evaluate_workdir(fv.workdir, judges=fv.judges, **options, **sent)
  if fv.report:
    _write_report(fv.workdir)


def _write_report(workdir: str) -> None:
  """Writes the report of a run, of several processes in the first."""
  import jax
  if jax.process_index() == 0:
    from vidx.show import report
    print(f"report: {report.write_report(workdir)}")


def _report(fv, args, overrides):
  flag_text.runs(against=fv.against.split(","))
  if os.path.isdir(fv.workdir):
    writing.check_place(fv.out or os.path.join(fv.workdir, "report.html"))
  from vidx.show import report
  if fv.kernels:
    process.start_jax()
  print(report.write_report(fv.workdir, fv.out or None, fv.against, fv.kernels))


def _models(fv, args, overrides):
  if fv.weights:
    from vidx.interop import pretrained
    print(pretrained.table(args[0] if args else "*"))
    return
  from vidx.measure import models
  models.main(args[0] if args else "*", "json" if fv.json else "markdown" if fv.markdown else "table", fv.count)


def _convert(fv, args, overrides):
  by_name = len(args) == 2 and not fv.to
  if len(args) != 3 and not by_name:
    raise errors.ConfigError(f"vidx convert takes SOURCE CHECKPOINT OUT, not {counted(len(args), 'word')}; of public"
                             " weights by name NAME OUT.")
  if fv.to not in ("", "torch"):
    raise errors.ConfigError(f"--to={fv.to}: the only other side is torch.")
  if not (fv.model or fv.to or by_name):
    raise errors.ConfigError("no model: add --model=NAME; `vidx models` lists them.")
  fields = flag_text.pairs(overrides)
  if fv.num_classes:
    fields["num_classes"] = fv.num_classes
  process.start_jax(fv.offline)
  from vidx.interop import convert
  options = dict(model=fv.model, fields=fields, new_head=fv.new_head, inflate=fv.inflate, resize=fv.resize,
                 inputs=flag_text.shapes(fv.inputs), sha256=fv.sha256, overwrite=fv.overwrite)
  if by_name:
    from vidx.interop import pretrained
    pretrained.main(*args, **options)
  else:
    convert.main(*args, to=fv.to, **options)


_REPORT = _bool("report", "write the HTML report as well")
_OFFLINE = _bool("offline", "download nothing: weights by name come from the cache alone")

VERBS: dict[str, Verb] = {
    "train": Verb(
        "train a system, or go on where an earlier call stopped; status 75: stopped before the end, call again",
        "--config=FILE --workdir=FOLDER [--config.SECTION.KEY=VALUE ...]",
        _all(_string("config", "", "config file, or the name of one that comes along, such as folder/tsm;"
                     " --config.SECTION.KEY=VALUE sets any key that --print_config lists"), WORKDIR, _REPORT, _OFFLINE,
             _string("runs", "", "folder of the runs of earlier stages, which a config calls {runs}/NAME"),
             _bool("print_config", "print every key of the config with its value, and train nothing"),
             _bool("dry_run", "read, build, compile and take two steps; say what memory and time a step needs"),
             _bool("profile", "trace a few steps into WORKDIR/profile")), _train, CONFIG, words=False),
    "eval": Verb(
        "evaluate a trained system, every video once",
        "--workdir=FOLDER [--split=test] [--views=10x3] [--fuse=FOLDER,...] [--submission=FILE]"
        " [--config.data.KEY=VALUE ...]",
        _all(WORKDIR, _string("split", "", "split of the data set; empty: the one of data.val_split"), VIEWS, STEP,
             _integer("batch_size", 0, "videos per batch; 0: as the config says", 0),
             WINDOWS,
             _string("fuse", "", "further runs, whose scores are averaged with this one's: two streams, ensembles"),
             _string("cluster", "",
                     "all, or a file of class names: features are clustered and compared with these classes"),
             _string("submission", "", "file for the server of the EPIC-KITCHENS challenges, .json or .zip"),
             _string("supervision", "", "levels that it asks for, of pretraining, labels and data, such as 2,3,4"),
             _string("judges", "", "networks that score images: fid=FOLDER,lpips=FOLDER:HEADS,identity=RUN,pose=RUN"),
             _string("weights", "", "of the runs in --fuse, this one's first, such as 1,1.5; empty: equal"),
             _REPORT), _eval, CONFIG, words=False),
    **predicting.VERBS,
    "report": Verb("write a run's HTML report", "--workdir=FOLDER [--out=FILE] [--against=FOLDER,...] [--kernels]",
                   _all(WORKDIR, _string("out", "", "file to write; WORKDIR/report.html"),
                        _string("against", "", "other runs: their curves on the same plots, and gains by class over"
                                " them"),
                        _bool("kernels", "draw the kernels of first convolutions and of band-pass modules")),
                   _report, words=False),
    "models": Verb("list the models with their sizes, and of one model its fields", "[PATTERN|NAME]",
                   _all(JSON, _bool("count", "count parameters and operations anew"),
                        _bool("markdown", "print a Markdown table"),
                        _bool("weights", "list the public checkpoints by name, with what was published of them")),
                   _models),
    "convert": Verb(
        "public weights of torch to a folder that train, eval and predict start from, and back",
        "NAME OUT such as torchvision:resnet50 OUT, or SOURCE CHECKPOINT OUT --model=NAME [--model.FIELD=VALUE ...],"
        " or SOURCE WORKDIR OUT --to=torch",
        _all(_OFFLINE, _string("model", "", "name of the model that gets the weights"),
             _string("to", "", "torch: writes a .safetensors or .pth file from a workdir"),
             _integer("num_classes", 0, "of the model; 0: as published"),
             _bool("new_head", "initialise a classifier of another shape anew"),
             _string("inflate", "", "how 2-D kernels become 3-D: mean or centre"),
             _bool("resize", "interpolate tables of positions"),
             _string("inputs", "", "shape of the input, such as 1x16x112x112x3, where parameters depend on it"),
             _string("sha256", "", "what the file's has to be, or its first 8 digits or more"),
             _bool("overwrite", "replace what an earlier call wrote")), _convert, "--model."),
    **preparing.VERBS,
    **proposing.VERBS,
    **measuring.VERBS,
}


# ---------------------------------------------------------------- the machinery


def _underscored(word: str) -> str:
  """--new-head=x as --new_head=x."""
  name, equals, value = word.partition("=")
  return "--" + name[2:].replace("-", "_") + equals + value if name.startswith("--") else word


def main(argv: Sequence[str]) -> int:
  """Runs `vidx ARGV...`; returns the exit status.

  It is 0, 1 where some of the things that a verb was given did not pass, 2 for what a user can cause, and 75 for an
  unfinished run.
  """
  if list(argv) == ["--version"]:
    from vidx import __version__
    print(f"vidx {__version__}")
    return 0
  debug, name = "--debug" in argv, ""
  argv = [a for a in argv if a != "--debug"]
  try:
    if not argv or argv[0] in ("--help", "-h", "help"):
      print(usage.of_all(VERBS))
      return 0
    name, rest = usage.find(VERBS, argv)
    verb = VERBS[name]
    fv = flags.FlagValues()
    fv.set_gnu_getopt()  # flags may follow arguments
    verb.define(fv)
    if any(a in ("--help", "-h") for a in rest):
      print(usage.of_verb(name, verb, fv))
      return 0
    overriding = [bool(verb.prefix) and a.startswith(verb.prefix) for a in rest]
    overrides = [a.removeprefix(verb.prefix) for a, over in zip(rest, overriding) if over]
    own = [_underscored(a) for a, over in zip(rest, overriding) if not over]
    try:
      args = fv(["vidx", *own])[1:]
    except flags.UnrecognizedFlagError as e:
      raise errors.ConfigError(f"vidx {name}: unknown flag --{e.flagname}"
                               f"{flag_text.hint(e.flagname, list(fv), verb.prefix)}.") from e
    except flags.Error as e:
      raise errors.ConfigError(f"vidx {name}: {' '.join(str(e).split())}") from e
    if not verb.words:
      flag_text.no_words(args, fv)
    return int(verb.run(fv, args, overrides) or 0)
  except errors.UserError as e:
    if debug and e.status == 2:
      raise
    return _refused(str(e), e.status)
  except BrokenPipeError:
    return 141  # as a program ends that nobody reads: 128 + SIGPIPE
  except Exception as e:  # pylint: disable=broad-except
    why = _of_the_machine(e)
    if debug or not why:
      raise
    return _refused(why, 2)
  except KeyboardInterrupt:
    print("vidx: interrupted; the same command goes on from the last checkpoint." if name == "train" else
          "vidx: interrupted.", file=sys.stderr)
    return 130


def _refused(why: str, status: int) -> int:
  print(f"vidx: {terminal.line(why)}", file=sys.stderr, flush=True)
  return status


def _of_the_machine(e: Exception) -> str:
  """What a disk or the memory refuses, in words; '' for anything else."""
  if isinstance(e, OSError) and e.errno == 28:
    return f"no space left on the disk ({e.filename}); free space and run the same command again."
  if isinstance(e, OSError) and e.filename is not None and e.strerror:
    return f"{os.fsdecode(e.filename)}: {e.strerror.lower()}."
  if isinstance(e, MemoryError) or "RESOURCE_EXHAUSTED" in str(e):
    return ("out of memory: take fewer videos at once (--batch_size, or --config.train.batch_size), fewer or smaller"
            " clips (--views, --config.data.frames, --config.data.crop), or fewer decoding processes"
            " (--config.data.workers).")
  return ""


def run() -> None:
  """Runs the command line of this process, and ends it."""
  process.tune_malloc()
  process.quiet_xla()
  terminal.guard()
  try:
    status = main(sys.argv[1:])
  except SystemExit as e:
    status = e.code
  except Exception:  # pylint: disable=broad-except
    sys.excepthook(*sys.exc_info())
    status = 1
  try:
    for stream in (sys.stdout, sys.stderr):
      if stream is not None:
        stream.flush()
  except BrokenPipeError:
    status = 141
  if process.held_up() or status not in (0, stop.STATUS) and not process.part():
    os._exit(status)
  sys.exit(status)
