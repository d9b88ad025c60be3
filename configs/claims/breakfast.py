"""What transcripts and sets teach about the labels of real videos: lengths and orders of Breakfast, features drawn.

VIDX_REAL_DATA=FOLDER vidx claims breakfast

FOLDER holds breakfast_labels/groundtruth_rle.csv, a line per video, whose words LABEL:FRAMES are its segments. Of its
videos, in the order of the file, the last fifth is for test; all are stretched to 256 frames of prototypes of the 48
actions under noise and a drift. Networks are trained by SGD without momentum, as in the thesis.

With one seed `segments` does not hold: after 3,000 steps MuCon has an F1@25 of 1.1, after 300 it had 25.5, beside 13.5
of the even split and 84.3 of the duration DP. The other claims are not yet measured.
"""

import functools
import os

from vidx import errors
from vidx.bench.claims import Claim
from vidx.bench.long_videos import World, classes, measure, taught_by
from vidx.systems.mucon import MuCon
from vidx.systems.sct import SCT

LABELS = "breakfast_labels/groundtruth_rle.csv"
STEPS, RATE = 3000, 0.03
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


def over_simple(found, measured, supervision, seed):
  """A measure of a read-out, beside networks that learn what an even split and a duration DP label."""
  simple = {name: taught_by(name, supervision, world(), STEPS, seed, measured)
            for name in ("uniform_split", "length_dp")}
  return {"method": found[measured], "baseline": max(simple.values()), **simple}


def consistent(readout, measured, seed):
  """A measure of MuCon with what frames and segments have to agree on, and without it."""
  return {"method": mucon(seed)[readout][measured], "baseline": mucon(seed, "no consistency")[readout][measured]}


def get_claims():
  claim = functools.partial(Claim, seeds=1)
  return [
      claim("segments", "From transcripts MuCon segments better (F1@25) than an even split and a duration DP.",
            lambda seed: over_simple(mucon(seed)["full"], "f1@25", "transcript", seed)),
      claim("frames", "It labels more frames rightly, too.",
            lambda seed: over_simple(mucon(seed)["full"], "mof", "transcript", seed)),
      claim("transcripts", "Consistency with frames improves the decoded transcripts (matching score).",
            functools.partial(consistent, "full", "mat")),
      claim("lengths", "Without consistency the lengths of the decoded segments are not learned (F1@25).",
            functools.partial(consistent, "s", "f1@25"), 10.0),
      claim("sets", "From sets SCT labels more frames rightly than an even split and a duration DP.",
            lambda seed: over_simple(sct(seed)["y"], "mof", "set", seed)),
  ]
