"""What growing, spread seeds and masks are for: appearance that drifts, and a rendered object on a moving ground.

vidx claims proposals
"""

import os
import tempfile

import numpy as np

from vidx.bench.claims import Claim
from vidx.data.records import media_of
from vidx.data.toybox.render import texture
from vidx.data.toybox.write import write_video
from vidx.infer.proposals import growing, propose, settings
from vidx.metrics import tubes as metrics

FRAMES, OTHERS, SIZE = 90, 23, 64
BLOCK = 30


def drifting(seed, knots, look, noise=0.25):
  """Features (N, P, D), boxes (N, P, 4): box 0 is the object, whose look moves smoothly along `knots` directions; box 1
  is like its look in the middle, by the cosine `look`, throughout."""
  rng = np.random.default_rng(seed)
  basis = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0]
  at = np.linspace(0, knots - 1, FRAMES)
  share = np.exp(-(at[:, None] - np.arange(knots)) ** 2 / 2)
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  own = unit(share @ basis[:knots])
  middle = own[FRAMES // 2]
  alike = look * middle + np.sqrt(1 - look ** 2) * basis[knots]
  x = unit(rng.normal(size=(FRAMES, OTHERS + 1, SIZE)))
  x[:, 0], x[:, 1] = own, alike
  x = unit(x + noise * rng.normal(size=x.shape) / np.sqrt(SIZE))
  corner = 100.0 * np.arange(OTHERS + 1)
  boxes = np.stack([corner, 0 * corner, corner + 50, 0 * corner + 50], -1)
  return x.astype("f"), np.tile(boxes, (FRAMES, 1, 1)).astype("f")


def right(seed, knots, look, span, **options):
  """Percent of frames in which the detector of 10 seeds, in the middle `span` of the video, likes the object best."""
  x, boxes = drifting(seed, knots, look)
  seeds = np.full((1, FRAMES), -1)
  seeds[0, np.linspace((1 - span) / 2 * (FRAMES - 1), (1 + span) / 2 * (FRAMES - 1), 10).round().astype(int)] = 0
  part = lambda i: slice(BLOCK * i, BLOCK * (i + 1))
  read = lambda i: (x[part(i)], boxes[part(i)], np.ones((BLOCK, OTHERS + 1), bool))
  w = growing.grow(read, FRAMES // BLOCK, BLOCK, FRAMES, seeds, **options).detectors[0]
  return 100 * float(((x @ w[:-1] + w[-1]).argmax(1) == 0).mean())


def drift(seed):
  return {"method": right(seed, 8, 0.9, 0.2), "baseline": right(seed, 8, 0.9, 0.2, mode="none"),
          "all frames at once": right(seed, 8, 0.9, 0.2, reach=FRAMES)}


def spread(seed):
  return {"method": right(seed, 6, 0.35, 1.0, mode="none"), "baseline": right(seed, 6, 0.35, 0.2, mode="none"),
          "middle 60 %": right(seed, 6, 0.35, 0.6, mode="none")}


def rendered(seed, frames=24, height=96, width=128, side=34):
  """uint8 (N, H, W, 3) of a textured square that moves over a panning texture, and its boxes (N, 4)."""
  rng = np.random.default_rng(seed)
  ground = texture("blobs", height + 40, width + 80, rng)
  looks = [np.clip(texture("checks", side, side, rng) + shift, 0, 255) for shift in ((90, -50, -60), (60, -70, 40))]
  x = np.linspace(8, width - side - 8, frames)
  y = height / 2 - side / 2 + 18 * np.sin(np.linspace(0, 5, frames))
  made, boxes = [], []
  for t in range(frames):
    picture = ground[20:20 + height, 40 - t:40 - t + width] if t < 40 else ground[20:20 + height, :width]
    picture = picture.copy()
    i, j = int(round(y[t])), int(round(x[t]))
    share = t / frames
    picture[i:i + side, j:j + side] = looks[0] * (1 - share) + looks[1] * share
    made.append(np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8))
    boxes.append((j, i, j + side, i + side))
  return np.stack(made), np.array(boxes, float)


def small():
  """Settings for videos of about 100 x 130 pixels."""
  c = settings.base()
  c.flow.camera = "affine"
  c.boxes.per_map = 60
  c.features.components = 48
  c.growing.update(fire=100, objects=4)
  c.clusters.update(keep=8, likeness=0.4)
  c.tubes.update(nms=0.6, masked=5, top=60)
  c.masks.update(iterations=60, grid=48, rounds=3, samples=6000)
  return c


def pipeline(seed):
  """Mean overlap of the best of the first five tubes, of the video without its motion beside it."""
  frames, boxes = rendered(seed)
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "square.mp4")
    write_video(path, frames, 12.0)
    found = propose.propose(media_of(path), os.path.join(folder, "stages"), small())
  of = lambda x: 100 * metrics.best_of(metrics.frame_iou(x, boxes).mean(1), 5)[1]
  height, width = frames.shape[1:3]
  centre = np.array([width, height, width, height]) * (0.25, 0.25, 0.75, 0.75)
  return {"method": of(found.boxes), "baseline": of(np.tile(centre, (1, len(frames), 1))),
          "before masks": of(found.first_boxes)}


def get_claims():
  return [
      Claim("drift", "A detector that grows over an object that changes its looks finds it in at least 20 % more of the"
            " frames than one that is trained on its easy instances.", drift, margin=20.0),
      Claim("spread", "Easy instances from the whole video make a better detector than as many from its middle.",
            spread, margin=1.0),
      Claim("rendered", "Among the first five tubes of a rendered video is the object, by an overlap that is 50 points"
            " above that of the middle of the frame.", pipeline, margin=50.0),
  ]
