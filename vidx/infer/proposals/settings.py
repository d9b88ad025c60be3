"""What can be chosen of the search for objects; defaults are those of the thesis, where it says."""

from collections.abc import Sequence
import functools

from ml_collections import ConfigDict

from vidx import errors
from vidx.data import optical_flow
from vidx.errors import Range
from vidx.nn import edge_boxes, region_clusters
from vidx.train import config as config_lib

GROWING = ("iterative", "none")
DETECTORS = ("svm", "lda")
FLOWS = ("dis", "files")
FEATURES = ("hog_lab", "trunk", "crops")
PIXELS = ("colours", "trunk")
SEEDS = 2 ** 32  # keys of jax.random are of as many


_least = functools.partial(Range, below=True)  # and not infinite
NUMBERS = {  # what each number of the settings may be
    "seed": Range(0, SEEDS - 1),
    "video.short_side": _least(0),
    "video.stride": _least(1),
    "video.frames": _least(0),
    "edges.smooth": _least(0),
    "edges.surround": Range(0, 1),
    "edges.threshold": Range(0, 1),
    "boxes.per_map": _least(1),
    "boxes.hops": _least(0),
    "boxes.overlap": Range(0.05, 0.9),  # beyond, places are too many
    "boxes.nms": Range(0, 1),
    "boxes.aspect": _least(1),
    "boxes.area": _least(1),
    "boxes.refine": _least(0),
    "boxes.top": _least(1),
    "boxes.still": _least(0),
    "features.grid": _least(1),
    "features.colour": _least(0),
    "features.components": _least(0),
    "features.batch": _least(1),
    "clusters.segments": _least(1),
    "clusters.keep": _least(1),
    "clusters.likeness": Range(-1, 1),
    "growing.reach": _least(1),
    "growing.overlap": Range(0, 1, above=True),
    "growing.negatives": _least(1),
    "growing.fire": _least(1),
    "growing.regularisation": _least(0, above=True),
    "growing.steps": _least(1),
    "growing.objects": _least(1),
    "tubes.top": _least(1),
    "tubes.score_scale": _least(0),
    "tubes.nms": Range(0, 1),
    "tubes.masked": _least(-1),
    "masks.region": _least(1),
    "masks.band": _least(0),
    "masks.grid": _least(1),
    "masks.samples": _least(1),
    "masks.regularisation": _least(0, above=True),
    "masks.rounds": _least(1),
    "masks.changed": Range(0, 1),
    "masks.weight": _least(0),
    "masks.sharpness": _least(0),
    "masks.iterations": _least(1),
    "masks.gmm": _least(0),
    "masks.gmm_steps": _least(0),
    "masks.gmm_margin": _least(0),
    "masks.largest": Range(0, 1, below=True),
}


def base() -> ConfigDict:
  """All keys with their defaults."""
  c = ConfigDict(dict(
      seed=0,
      video=dict(
          short_side=0,         # pixels that frames are made smaller to; 0: as they are
          stride=1,             # every so many frames are looked at; boxes of the others are not said
          frames=0,             # most frames that are looked at, from the first on; 0: all
      ),
      flow=dict(
          source="dis",         # dis | files
          preset="medium",      # of dis: ultrafast | fast | medium
          files="",             # folder of .flo, .npy or KITTI .png files of a video, such as flow/{name}
          camera="none",        # what is subtracted where motion is sought: none | median | affine
      ),
      edges=dict(
          model="",             # file of structured forests, for a cv2 with ximgproc; empty: gradients
          smooth=1.5,           # pixels, deviation of the Gaussian before gradients
          surround=0.0,         # share of the mean of its neighbourhood that an edge of texture loses
          threshold=0.1,        # of an edge, of 1
      ),
      boxes=dict(
          per_map=1000,         # from the frame and from its flow each
          score="containment",  # containment | paths, of the final scores; boxes are sought by containment
          hops=4,               # of paths
          overlap=0.65, nms=0.75, aspect=3.0, area=1000.0,  # of the search; pixels at a frame of 500 x 400
          refine=3,             # rounds in which sides are moved
          top=25,               # per frame, of which clusters are made
          still=1e-3,           # added to the score on the flow, so that without motion the frame decides
      ),
      features=dict(
          name="hog_lab",       # hog_lab | trunk: RoIAlign at a site | crops: boxes as images through a whole trunk
          workdir="", site="",  # of the trunk
          grid=3,               # of RoIAlign
          colour=1.0,           # of hog_lab: weight of colours beside gradients
          components=256,       # principal components; 0: all are kept
          batch=32,             # frames or crops at once
      ),
      clusters=dict(
          segments=10, spread="segments",  # segments | plain_knn
          k=(9,), keep=85,
          likeness=0.8,         # of seeds, above which a cluster is dropped
      ),
      growing=dict(
          mode="iterative",     # iterative | none: trained on the cluster alone
          reach=3,              # frames that a round goes further, to both sides
          overlap=0.4,          # with the instance, below which a box is a negative
          negatives=50,         # of a frame, the hardest
          fire=1000,            # boxes of a frame that are looked at, the best by objectness
          detector="svm",       # svm | lda
          regularisation=1e-2, steps=10,
          objects=8,            # clusters that grow at once
      ),
      tubes=dict(
          dp=True,              # else the best box of each frame
          top=200,              # boxes of a frame that a path may take, the best by the detector
          score_scale=1.0,      # of the detector beside overlaps
          nms=1.0,              # mean overlap with a better tube above which one is dropped; 1: none is
          masked=0,             # how many get masks, the best; 0: all; -1: none
      ),
      masks=dict(
          refine_boxes=True,    # boxes are those of the masks
          pixels="colours",     # colours | trunk: features of pixels
          site="",              # of the trunk, several with commas
          region=3.0,           # sides of the box that are looked at
          band=32.0,            # pixels around the box that teach nothing at first, at a frame of 500 x 400
          grid=96,              # entries per side that the region is seen with
          samples=20000,        # pixels that a tube's classifier learns from
          regularisation=1e-3,
          rounds=5, changed=1e-3,  # at most, and the share of pixels below which they end
          weight=2.0, sharpness=3.0, iterations=300,  # of the cuts, on the grid and of pixels
          gmm=5, gmm_steps=10, gmm_margin=16.0,  # components, 0: none; pixels around the mask
          largest=0.6,          # of the largest part: smaller ones are left out
      ),
  ))
  c.lock()
  return c


def load(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """A config of proposals by its file, or the defaults for '', with overrides `section.key=value`.

  Raises:
    ConfigError: no such file, one of something else, an unknown key or a value that cannot be.
  """
  config = config_lib.load_file(path) if path else base()
  if set(config) != set(base()):
    raise errors.ConfigError(f"config file {path} is none of proposals; those of configs/proposals are.")
  config = config_lib.override(config, overrides)
  check(config)
  return config


def check(c: ConfigDict) -> None:
  """Raises ConfigError for values that cannot be."""
  for key, value, known in (
      ("flow.source", c.flow.source, FLOWS), ("flow.preset", c.flow.preset, optical_flow.PRESETS),
      ("flow.camera", c.flow.camera, optical_flow.CAMERAS), ("boxes.score", c.boxes.score, edge_boxes.MODES),
      ("features.name", c.features.name, FEATURES), ("clusters.spread", c.clusters.spread, region_clusters.SPREADS),
      ("growing.mode", c.growing.mode, GROWING), ("growing.detector", c.growing.detector, DETECTORS),
      ("masks.pixels", c.masks.pixels, PIXELS)):
    errors.check_choice(key, value, known)
  errors.check_ranges(c, NUMBERS)
  if not c.clusters.k or min(c.clusters.k) < 1:
    raise errors.ConfigError(f"clusters.k={c.clusters.k}: numbers of members, at least 1, such as 9 or 1,3,5,7,9.")
  if c.flow.source == "files" and not c.flow.files:
    raise errors.ConfigError("flow.files: name the folder of the files of a video, such as flow/{name}.")
  if "trunk" in (c.features.name, c.masks.pixels) or c.features.name == "crops":
    if not c.features.workdir:
      raise errors.ConfigError("features.workdir: name the run or converted weights of the trunk.")
  if c.features.name == "trunk" and not c.features.site or c.masks.pixels == "trunk" and not c.masks.site:
    raise errors.ConfigError("features.site or masks.site: name the site of the trunk, such as res4 or pool5.")
