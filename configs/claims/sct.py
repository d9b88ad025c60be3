"""What the self-supervision of SCT is for: regions that learn how long they are from sets of actions.

vidx claims sct

200 videos of 256 frames follow the grammar of Toybox's kitchen; features are prototypes
of 8 actions under noise. Figures are frames labelled rightly, in percent, on 50 others.
`lengths` and `divergence` mirror table 8.2 of the thesis. All train for 50 epochs: after 16 a divergence was ahead,
95.6 against 89.6, for the agreement, whose scores are pooled over the whole video, learns more slowly; after 120 it is
behind, 95.2 against 95.6.
"""

import functools

from vidx.bench.claims import Claim
from vidx.bench.long_videos import World, measure, most_frequent, taught_by
from vidx.systems.sct import SCT

WORLD = World()
STEPS = 1250  # 50 epochs
# Regions are of 8 frames; of a template of 5 points their ramps are wide enough to learn from. At the published
# temperature of 0.1 some runs of 400 steps learned next to nothing.
SMALL = dict(num_classes=8, width=32, groups=8, dilations=(1, 2, 4, 8, 16, 32, 64), pools=(1, 2, 4), points=5,
             temperature=1.0)
ARMS = {"full": {}, "no agreement": dict(agreement_weight=0.0), "divergence": dict(agreement="js")}


@functools.lru_cache
def found(seed, arm):
  return measure(SCT(**SMALL, **ARMS[arm]), WORLD, STEPS, seed)


def against(arm):
  """Frames by regions and their lengths, with all losses and with those of an arm."""
  def run(seed):
    full, other = found(seed, "full"), found(seed, arm)
    return {"method": full["y"]["mof"], "baseline": other["y"]["mof"], f"{arm}, equal lengths": other["a"]["mof"]}

  return run


def frequent(seed):
  return {"method": found(seed, "full")["y"]["mof"], "baseline": most_frequent(WORLD)}


def over(seed, labelling):
  """Frames rightly labelled, beside those of a network that learns what an even split or a duration DP labels."""
  return {"method": found(seed, "full")["y"]["mof"], "baseline": taught_by(labelling, "set", WORLD, STEPS, seed)}


def get_claims():
  return [
      Claim("even_split", "Sets teach more than an even split of them does.", lambda seed: over(seed, "uniform_split"),
            10.0),
      Claim("duration_dp", "They teach more than a duration DP makes of them.", lambda seed: over(seed, "length_dp")),
      Claim("frequent", "Sets tell labels of frames: far more than the most frequent action has.", frequent, 40.0),
      Claim("lengths", "What regions and frames disagree about trains the lengths of regions.",
            against("no agreement"), 3.0),
      Claim("divergence", "Agreement on the actions of the set teaches more than a divergence of all frames does.",
            against("divergence")),
  ]
