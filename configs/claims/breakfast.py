"""What transcripts and sets teach about the labels of real videos: lengths and orders of Breakfast, features drawn.

VIDX_REAL_DATA=FOLDER vidx claims breakfast

FOLDER holds breakfast_labels/groundtruth_rle.csv, a line per video, whose words LABEL:FRAMES are its segments. Of its
videos, in the order of the file, the last fifth is for test; all are stretched to 256 frames of prototypes of the 48
actions under noise and a drift. Networks are trained by SGD without momentum, as in the thesis.

With one seed, F1@25 and frames labelled rightly: MuCon 54.9 and 61.3, an even split 13.5 and 42.3, a duration DP 84.3
and 76.1, so that neither claim against the DP holds: prototypes are told apart frame by frame as features of videos
are not. At a rate of 0.03 MuCon falls apart after 200 steps (1.1). The other claims are not yet measured.
"""

import functools
import os

from vidx import errors
from vidx.bench.claims import Claim
from vidx.bench.long_videos import World, classes, measure, taught_by
from vidx.systems.mucon import MuCon
from vidx.systems.sct import SCT

LABELS = "breakfast_labels/groundtruth_rle.csv"
STEPS, RATE = 3000, 0.01
SMALL = dict(width=32, groups=8)
ARMS = {"consistency": {}, "no consistency": dict(consistency_weight=0.0)}


@functools.lru_cache
def world():
  """The videos."""
  path = os.path.join(os.environ.get("VIDX_REAL_DATA", ""), LABELS)
  if not os.path.isfile(path):
    raise errors.DataError(f"{path} is not there: set VIDX_REAL_DATA to the folder that holds {LABELS}.")
  return World(size=64, runs=path)


@functools.lru_cache
def mucon(seed, arm="consistency"):
  """Measures of MuCon's read-outs."""
  system = MuCon(num_classes=classes(world()), hidden=32, backbone=(1, 1, 1), pools=(0, 1, 2), points=10,
                 max_length=256, **SMALL, **ARMS[arm])
  return measure(system, world(), STEPS, seed, RATE, momentum=0.0)


@functools.lru_cache
def sct(seed):
  """Measures of SCT's read-outs."""
  system = SCT(num_classes=classes(world()), dilations=(1, 2, 4, 8, 16, 32, 64), pools=(1, 2, 4), points=5,
               temperature=1.0, **SMALL)
  return measure(system, world(), STEPS, seed, RATE, momentum=0.0)


def over(found, labelling, supervision, measured, seed):
  """A measure of a read-out, beside a network that learns what an even split or a duration DP labels."""
  return {"method": found[measured], "baseline": taught_by(labelling, supervision, world(), STEPS, seed, measured)}


def consistent(readout, measured, seed):
  """A measure of MuCon with what frames and segments have to agree on, and without it."""
  return {"method": mucon(seed)[readout][measured], "baseline": mucon(seed, "no consistency")[readout][measured]}


def get_claims():
  claim = functools.partial(Claim, seeds=1)
  return [
      claim("segments_even_split", "From transcripts MuCon segments better than an even split of them (F1@25).",
            lambda seed: over(mucon(seed)["full"], "uniform_split", "transcript", "f1@25", seed), 10.0),
      claim("segments_duration_dp", "It segments better than what a duration DP makes of them (F1@25).",
            lambda seed: over(mucon(seed)["full"], "length_dp", "transcript", "f1@25", seed)),
      claim("frames_even_split", "It labels more frames rightly than an even split.",
            lambda seed: over(mucon(seed)["full"], "uniform_split", "transcript", "mof", seed)),
      claim("frames_duration_dp", "It labels more frames rightly than a duration DP.",
            lambda seed: over(mucon(seed)["full"], "length_dp", "transcript", "mof", seed)),
      claim("transcripts", "Consistency with frames improves the decoded transcripts (matching score).",
            functools.partial(consistent, "full", "mat")),
      claim("lengths", "Without consistency the lengths of the decoded segments are not learned (F1@25).",
            functools.partial(consistent, "s", "f1@25"), 10.0),
      claim("sets_even_split", "From sets SCT labels more frames rightly than an even split of them.",
            lambda seed: over(sct(seed)["y"], "uniform_split", "set", "mof", seed), 10.0),
      claim("sets_duration_dp", "It labels more frames rightly than a duration DP of sets.",
            lambda seed: over(sct(seed)["y"], "length_dp", "set", "mof", seed)),
  ]
