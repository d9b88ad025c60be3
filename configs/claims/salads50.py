"""What labels of frames, transcripts and sets are worth: six systems on 50Salads, one table.

VIDX_REAL_DATA=FOLDER vidx claims salads50

FOLDER holds tcn_action_segmentation/predictions/50Salads/mid/mid_video_SVM, the frame scores that Lea et al. 2017
released; they are the features. Every method trains three seeds on each of the five folds, keeps the scores of its
last step, so that no test video chooses anything, and prints its row: means over all videos, class 0 dropped, as in
the papers on temporal convolutions, with the deviation over seeds of the mean of the folds, and the processor time
of it all. Runs are kept in runs/salads50 (another folder: VIDX_RUNS); those that are finished are read, and a
stopped one goes on.

The scores are stacked: they are those of a classifier that was trained without the video that it scores, but with
the test videos of the fold that this video then helps to train for. For comparison of methods, not with papers.
"""

from collections.abc import Mapping
import functools
import glob
import itertools
import json
import os
import time

import jax
import numpy as np

from vidx import errors, writing
from vidx.data import score_files
from vidx.infer import evaluate
from vidx.bench.claims import FOLDERS, Claim
from vidx.metrics import segments
from vidx.train import config as config_lib
from vidx.train import loop

RUNS = os.path.join(os.environ.get("VIDX_RUNS", "runs"), "salads50")
RELEASED = "tcn_action_segmentation/predictions/50Salads/mid/mid_video_SVM"
FOLDS, SEEDS = range(1, 6), 3
MEASURES = ("f1@10", "f1@25", "f1@50", "edit", "acc")
WANTED = (65.0, 61.0, 48.0, 59.0, 60.0)
#: key -> (labels, name, config).
METHODS = {
    "ms_tcn": ("frames", "MS-TCN", "scores_ms_tcn.py"),
    "mucon_full": ("frames", "MuCon", "scores_mucon.py:full"),
    "mucon": ("transcripts", "MuCon", "scores_mucon.py"),
    "dp_transcript": ("transcripts", "duration DP", "scores_baseline.py:dp_transcript"),
    "even_transcript": ("transcripts", "even split", "scores_baseline.py:even_transcript"),
    "soft_transcript": ("transcripts", "soft boundaries", "scores_baseline.py:soft_transcript"),
    "forward_transcript": ("transcripts", "forward loss", "scores_baseline.py:forward_transcript"),
    "sct": ("sets", "SCT", "scores_sct.py"),
    "dp_set": ("sets", "duration DP", "scores_baseline.py:dp_set"),
    "even_set": ("sets", "even split", "scores_baseline.py:even_set"),
}
HEADER = ("| labels | system | F1@10 | F1@25 | F1@50 | edit | accuracy | processor minutes |\n"
          "|---|---|---|---|---|---|---|---|")


@functools.lru_cache
def scores():
  """Folder of the released scores as features."""
  source = os.path.join(os.environ.get("VIDX_REAL_DATA", ""), RELEASED)
  if not os.path.isdir(source):
    raise errors.DataError(f"{source} is not there: set VIDX_REAL_DATA to the folder that holds {RELEASED}.")
  score_files.convert(source, out := os.path.join(RUNS, "scores"))
  jax.config.update("jax_compilation_cache_dir", os.path.join(RUNS, "programs"))  # folds share theirs
  return out


def config_of(key, fold):
  """The config of a method's run on a fold."""
  config = config_lib.load_file(str(FOLDERS[1].parent / "salads50" / METHODS[key][2]))
  config.data.root, config.data.dataset.fold, config.train.seeds = scores(), fold, SEEDS
  config.eval.every_epochs = config.checkpoint.every_epochs = 0.0
  config.train.log_every = 200
  return config


def fold_seeds(key, fold):
  """(the measures of each seed on a fold, seconds of processor time that its training and evaluation took)."""
  config, workdir = config_of(key, fold), os.path.join(RUNS, key, f"fold{fold}")
  kept, found = os.path.join(workdir, "seeds.json"), {}
  if os.path.exists(kept):
    with open(kept, encoding="utf-8") as f:
      found = json.load(f)
  if found.get("config") != config_lib.to_json(config):  # `train` says so where the folder is of another config
    # Of all cores; a clock would count what else they do. What is known of this run counts on: it is not trained again.
    start = time.process_time() - found.get("seconds", 0.0)
    loop.train(config, workdir)
    seeds = evaluate.evaluate_workdir(workdir, step="last")["seeds"]
    found = {"seeds": seeds, "seconds": time.process_time() - start, "config": config_lib.to_json(config)}
    writing.write_json(kept, found)
  return found["seeds"], found["seconds"]


@functools.lru_cache
def measured(key):
  """Measures of each seed of a method, means over folds, whose videos are as many; printed as a row."""
  folds, seconds = zip(*(fold_seeds(key, fold) for fold in FOLDS))
  seeds = [{name: float(np.mean([fold[i][name] for fold in folds])) for name in folds[0][i]} for i in range(SEEDS)]
  labels, name, _ = METHODS[key]
  row(labels, name, [f"{np.mean(v):.1f} ± {np.std(v):.1f}" for m in MEASURES for v in [[s[m] for s in seeds]]],
      f"{sum(seconds) / 60:.0f}")
  return seeds


@functools.lru_cache
def untrained():
  """Measures of the scores alone: the class of the highest; printed as the first row."""
  print(HEADER, flush=True)
  root = scores()
  with open(os.path.join(root, "mapping.txt"), encoding="utf-8") as f:
    ids = {name: int(i) for i, name in map(str.split, f)}
  found, truth = [], []
  for path in sorted(glob.glob(os.path.join(root, "features", "*.npy"))):
    found.append(np.load(path).argmax(0))
    with open(path.replace("features", "groundTruth").replace(".npy", ".txt"), encoding="utf-8") as f:
      truth.append(np.asarray([ids[line] for line in f.read().split()]))
  measures = segments.evaluate(found, truth, ignore=(0,), average="video")
  row("", "scores alone", [f"{measures[m]:.1f}" for m in MEASURES], "")
  return measures


def row(*cells):
  print(f"| {' | '.join(itertools.chain(*(c if isinstance(c, list) else [c] for c in cells)))} |", flush=True)


def of(key, seed) -> Mapping[str, float]:
  """The measures of one seed of a method."""
  untrained()
  if seed >= SEEDS:
    raise errors.ConfigError(f"--seeds: {SEEDS} seeds are trained together; ask for at most as many.")
  return measured(key)[seed]


def reaches(key, seed):
  """By how much the worst of the five measures is above what is wanted."""
  found = of(key, seed)
  return {"method": min(found[m] - w for m, w in zip(MEASURES, WANTED)), "baseline": 0.0,
          **{m: found[m] for m in MEASURES}}


def against(key, baselines, measure, seed):
  """A measure of a method, and of the better of the baselines on the same labels."""
  others = {other: of(other, seed)[measure] for other in baselines}
  return {"method": of(key, seed)[measure], "baseline": max(others.values()), **others}


def get_claims():
  wanted = ", ".join(f"{m} {w:.0f}" for m, w in zip(MEASURES, WANTED))
  partial = functools.partial
  return [
      Claim("ms_tcn", f"From labels of frames MS-TCN reaches {wanted}.", partial(reaches, "ms_tcn")),
      Claim("mucon_full", f"From labels of frames MuCon reaches {wanted}.", partial(reaches, "mucon_full")),
      Claim("transcripts", "From transcripts MuCon segments better (F1@25) than an even split and a duration DP.",
            partial(against, "mucon", ("even_transcript", "dp_transcript"), "f1@25")),
      Claim("sets", "From sets SCT segments better (F1@25) than an even split and a duration DP.",
            partial(against, "sct", ("even_set", "dp_set"), "f1@25")),
  ]
