"""The verb that finds objects without labels: `vidx propose`."""

import sys

from vidx import errors
from vidx.command import flag_text, process
from vidx.command.verb import CONFIG, Verb, every as _all, string as _string, switch as _bool


def _propose(fv, args, overrides):
  from vidx.infer.proposals import settings
  if not fv.out:
    raise errors.ConfigError("no out: add --out=FOLDER.")
  if not (fv.dataset or args):
    raise errors.ConfigError("no videos: name files or folders of frames, or a data set by --dataset and --root.")
  flag_text.together(fv, {"root": "dataset", "split": "dataset"})
  config = settings.load(fv.config, overrides)
  process.start_jax()
  from vidx.infer.proposals import compare, propose
  say = (lambda text: None) if fv.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
  if fv.dataset:
    done, figures = compare.main(fv.dataset, fv.root, fv.split, fv.out, config, say, flag_text.pairs(args, fv))
    print("\n".join([propose.to_table(done), *compare.lines(figures)]))
  else:
    done = propose.main(args, fv.out, config, say)
    print(propose.to_table(done))
  if fv.show:
    from vidx.show import tubes
    print(f"pictures: {tubes.write(done, fv.out, 'Objects found without labels')}")
  return errors.status(entry["error"] for entry in done)


VERBS: dict[str, Verb] = {
    "propose": Verb(
        "objects of videos, found without labels: ranked tubes of boxes with masks; called again, it goes on;"
        " status 1: some of them cannot be read, 2: none can",
        "PATH [PATH ...] --out=FOLDER [--config=FILE] [--show] [--config.SECTION.KEY=VALUE ...], or --dataset=davis"
        " --root=FOLDER",
        _all(_string("config", "", "config file, one of configs/proposals; empty: the thesis'"),
             _string("out", "", "folder for NAME.json of each video, and what is kept of each step"),
             _string("dataset", "", "reader of annotated sequences, with which tubes are compared: davis, segtrack2,"
                     " otb2013"),
             _string("root", "", "folder of the data set"), _string("split", "val", "split of it"),
             _bool("show", "draw tubes and masks over the frames, as clips and a page"),
             _bool("quiet", "do not say how far it is")), _propose, CONFIG),
}
