"""What an aligned memory is for: objects that are hidden in some frames are known from those nearby.

A clip shows a thing of eight kinds that moves before noise; in two of five frames a grey square lies over it. The
detectors are given its box, moved a little, among boxes of the ground. `ghost` has no network: a cell of features walks
over a map, and what a memory leaves behind it is compared with what it holds on it.

vidx claims stmn
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import vidx
from vidx import tasks
from vidx.bench.claims import Claim, fit
from vidx.metrics import boxes as metrics
from vidx.nn.match_transform import match_transform
from vidx.systems import stmn

CLASSES, SIDE, FRAMES, BATCH, HARD = 8, 64, 5, 8, 0.4
STEPS, MORE, TESTED = 500, 150, 12  # of the detector of frames, of a memory that starts from it; batches
GROUND = 5  # boxes of the ground
TRUNK = dict(num_classes=CLASSES, trunk="resnet_50", stages=(1, 1, 1, 2), width=8, inner=32, features=32, frozen="",
             frozen_bn="")
TASK = tasks.get("detection", sample=8, mining="random")


# ---------------------------------------------------------------- a walk over a map


@functools.cache
def left_behind(seed, speed, affinity):
  """Percent of a memory's energy off the thing over that on it, after 7 frames; affinity '' moves nothing."""
  rng = np.random.default_rng(seed)
  h, w, d, frames = 15, 21, 32, 7
  thing, ground = rng.normal(size=(3, 3, d)), 0.05 * rng.normal(size=(h, w, d))
  memory, before = jnp.zeros((h, w, d)), None
  for t in range(frames):
    now = ground.copy()
    x = 1 + speed * t
    now[6:9, x:x + 3] += thing
    now = jnp.asarray(now)
    if affinity and before is not None:
      memory = match_transform(memory, now, before, affinity=affinity)
    memory, before = 0.5 * memory + 0.5 * now, now
  energy = np.square(np.asarray(memory)).sum(-1)
  on = energy[6:9, x:x + 3].mean()
  trail = energy[6:9, 1:x]
  return 100 * float(np.sqrt(trail.mean() / on))


# ---------------------------------------------------------------- things that hide


def form(kind, u, v):
  """Where a thing of a kind is, in units of its size."""
  most, cross = jnp.maximum(abs(u), abs(v)), jnp.minimum(abs(u), abs(v))
  return jnp.stack([
      u * u + v * v < 1, most < 0.85, abs(u) + abs(v) < 1.15, (u * u + v * v < 1) & (u * u + v * v > 0.3),
      (cross < 0.3) & (most < 0.95), (jnp.minimum(abs(u + v), abs(u - v)) < 0.4) & (most < 0.9),
      (most < 0.9) & (jnp.floor((v + 1) * 2.5) % 2 == 0), (most < 0.9) & (u * v > 0)])[kind]


def clip(key, frames, hard):
  """((video, boxes, mask), (label, box, hidden)) of one clip."""
  keys = jax.random.split(key, 10)
  kind = jax.random.randint(keys[0], (), 0, CLASSES)
  size = jax.random.uniform(keys[1], (), minval=9.0, maxval=12.0)
  start = jax.random.uniform(keys[2], (2,), maxval=2.0)
  speed = jax.random.uniform(keys[3], (2,), minval=0.15, maxval=0.35) * jax.random.rademacher(keys[4], (2,))
  t = jnp.arange(frames)[:, None]
  share = abs((start + speed * t) % 2 - 1)
  centre = size + share * (SIDE - 2 * size)
  hidden = jax.random.permutation(keys[5], jnp.arange(frames) < round(hard * frames))
  at = jnp.arange(SIDE) + 0.5
  u, v = (at[None, None, :] - centre[:, :1, None]) / size, (at[None, :, None] - centre[:, 1:, None]) / size
  shown = form(kind, *jnp.broadcast_arrays(u, v))[..., None]
  cover = (jnp.maximum(abs(u), abs(v)) < 1.15)[..., None] & hidden[:, None, None, None]
  colour = jax.random.uniform(keys[6], (3,), minval=0.5, maxval=1.5) * jnp.where(jax.random.bernoulli(keys[7]), 1, -1)
  video = 0.3 * jax.random.normal(keys[8], (frames, SIDE, SIDE, 3))
  video = jnp.where(cover, 0.15, jnp.where(shown, colour, video))
  box = jnp.concatenate([centre - size, centre + size], -1)
  drawn = jax.random.split(keys[9], 3)
  jitter = box[:, None] + jax.random.uniform(drawn[0], (frames, 2, 4), minval=-2, maxval=2)
  place = jax.random.uniform(drawn[1], (frames, GROUND, 2), maxval=SIDE - 20.0)
  sides = jax.random.uniform(drawn[2], (frames, GROUND, 2), minval=14, maxval=24.0)
  rois = jnp.concatenate([jitter, jnp.concatenate([place, place + sides], -1)], 1)
  return (video, jnp.clip(rois, 0, SIDE)), (kind, box, hidden)


def clips(key, frames=FRAMES, hard=HARD):
  """A batch as `fit` takes it."""
  x, label = jax.vmap(lambda k: clip(k, frames, hard))(jax.random.split(key, BATCH))
  return x, label


def loss(out, label):
  kind, box, _ = label
  lead = box.shape[:2]
  batch = {"boxes": box[:, :, None], "box_label": jnp.broadcast_to(kind[:, None, None], (*lead, 1)),
           "box_mask": jnp.ones((*lead, 1)), "weight": jnp.ones(len(box)), "extent": jnp.full((len(box), 2), SIDE)}
  return TASK.loss(out, batch)[0].mean()


@functools.cache
def still(seed):
  """The detector of frames, trained, with its variables."""
  model = vidx.create_model("rfcn", **TRUNK)
  return model, fit(model, clips, STEPS, seed, loss=loss)


@functools.cache
def trained(seed, arm):
  """(model, variables) of an arm."""
  if arm == "frames":
    return still(seed)
  fields = {"stmn": {}, "no match": dict(align=False)}.get(arm, dict(cell="gru"))
  model = vidx.create_model("stmn", **TRUNK, **fields)
  (video, rois), _ = clips(jax.random.PRNGKey(0))
  fresh = model.init(jax.random.PRNGKey(seed), video, rois)
  begin = stmn.from_frames(fresh, still(seed)[1], fresh=("heads",) if arm == "gru, fresh" else ())
  return model, fit(model, clips, MORE, seed + 100, rate=1e-3, loss=loss, begin=begin)


@functools.cache
def precision(seed, arm, hidden=True, frames=FRAMES):
  """Mean average precision of an arm in frames where things are hidden, or shown."""
  model, variables = trained(seed, arm)

  @jax.jit
  def looked(key):
    (video, rois), label = clips(key, frames)
    out = model.apply(variables, video, rois)
    found = TASK.predict(out, {"extent": jnp.full((BATCH, 2), float(SIDE))})
    return found, label

  found, truth = [], []
  for i in range(TESTED):
    one, (kind, box, covered) = jax.device_get(looked(jax.random.PRNGKey(90_000 + 1000 * seed + i)))
    first = i * BATCH * frames
    number = first + np.arange(BATCH * frames).reshape(BATCH, frames)
    wanted = covered == hidden
    truth.append(metrics.Boxes(number[wanted], box[wanted], np.repeat(kind[:, None], frames, 1)[wanted]))
    live = (one["found_score"] > 0) & wanted[..., None]
    frame = np.broadcast_to(number[..., None], live.shape)
    found.append(metrics.Boxes(frame[live], one["found_box"][live], one["found_label"][live], one["found_score"][live]))
  joined = lambda parts, names: metrics.Boxes(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
  each = metrics.average_precisions(joined(found, ("frame", "box", "label", "score")),
                                    joined(truth, ("frame", "box", "label")), CLASSES)
  return float(np.nanmean(each))


def get_claims() -> list[Claim]:
  ghost = lambda speed, affinity: lambda seed: {
      "method": left_behind(seed, speed, affinity), "baseline": 0.6 * left_behind(seed, speed, ""),
      "not aligned": left_behind(seed, speed, "")}
  claim = functools.partial(Claim, seeds=2)
  return [
      *(claim(f"ghost_{affinity}_{speed}", "An aligned memory leaves less than 0.6 of the trail behind what moves.",
              ghost(speed, affinity), better="less") for affinity in ("dot", "cosine") for speed in (1, 2)),
      claim("hidden", "What is hidden in a frame is told from those nearby.",
            lambda seed: {"method": precision(seed, "stmn"), "baseline": precision(seed, "frames"),
                          "no match": precision(seed, "no match")}, 10.0),
      claim("aligned", "A memory that is moved with what it remembers tells no less than one that is not.",
            lambda seed: {"method": precision(seed, "stmn"), "baseline": precision(seed, "no match")}, 0.0),
      claim("shown", "What is shown is told as well as by a detector of frames, up to 2 points.",
            lambda seed: {"method": precision(seed, "stmn", hidden=False),
                          "baseline": precision(seed, "frames", hidden=False) - 2}, 0.0),
      claim("longer", "Longer windows than those of training tell no less.",
            lambda seed: {"method": precision(seed, "stmn", frames=9), "baseline": precision(seed, "stmn", frames=3),
                          "5 frames": precision(seed, "stmn")}, 0.0),
      claim("transfer", "Heads that start anew tell less after a short training.",
            lambda seed: {"method": precision(seed, "stmn"), "baseline": precision(seed, "gru, fresh"),
                          "gru": precision(seed, "gru")}, 0.0),
  ]
