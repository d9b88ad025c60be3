"""Hands: a hand acts on one of four things, which all move; verbs, nouns, and what a detector would find.

The verb is how the thing under the hand moves, the noun what it is. The other things are
of other kinds and move in other ways, so that neither is told by what happens most.
"""

import numpy as np

from vidx.data.toybox import world

VERBS = {"push": "right", "pull": "left", "lift": "up", "lower": "down", "turn": "clockwise", "squeeze": "shrink"}
NOUNS = {"ball": "circle", "box": "square", "tent": "triangle", "star": "star", "cross": "cross", "flag": "flag"}
CLASSES = tuple(f"{verb} {noun}" for verb in VERBS for noun in NOUNS)
FEATURES = 16  # of a detection
_THINGS, _SKIN, _EVERY = 4, (224, 172, 105), 3  # frames from one with detections to the next
_PLACES = ((0.26, 0.28), (0.74, 0.28), (0.26, 0.7), (0.74, 0.7))


def _moved(motion: str, frames: int, x: float, y: float, size: float, angle: float) -> dict[str, np.ndarray]:
  """x, y, size, angle over time; nothing leaves the picture."""
  ramp, still = np.linspace(-1, 1, frames), np.zeros(frames)
  way = 0.09 * ramp
  path = {"x": x + still, "y": y + still, "size": size + still, "angle": angle + still}
  if motion in ("right", "left"):
    path["x"] = x + (way if motion == "right" else -way)
  elif motion in ("up", "down"):
    path["y"] = y + (way if motion == "down" else -way)
  elif motion == "clockwise":
    path["angle"] = angle + 1.2 * ramp
  else:
    path["size"] = size * (1 - 0.35 * ramp)
  return path


def scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, tuple[int, int]]:
  """A hand at a thing of four; the label is (verb, noun)."""
  del split
  verb, noun = divmod(label, len(NOUNS))
  shapes, motions = tuple(NOUNS.values()), tuple(VERBS.values())
  others = rng.permutation([n for n in range(len(NOUNS)) if n != noun])[:_THINGS - 1]
  ways = rng.permutation([v for v in range(len(VERBS)) if v != verb])[:_THINGS - 1]
  things, places = [], rng.permutation(len(_PLACES))
  for (n, v), at in zip([(noun, verb), *zip(others, ways)], places):
    x, y = np.array(_PLACES[at]) + rng.uniform(-0.04, 0.04, 2)
    colour = world.some(rng, tuple(world.COLOURS.values()))
    path = _moved(motions[v], frames, x, y, rng.uniform(0.1, 0.13), rng.uniform(0, 2 * np.pi))
    things.append(world.Object(shapes[n], colour, **path))
  held = things[0]
  hand = world.Object("hook", _SKIN, held.x + 0.02, held.y + 1.1 * held.size, np.full(frames, 0.09), np.zeros(frames))
  camera = np.cumsum(rng.normal(0, 0.2, (frames, 2)), axis=0)
  background = world.some(rng, world.BACKGROUNDS)
  return world.Scene(background, int(rng.integers(1 << 31)), (*things, hand), camera - camera.mean(axis=0),
                     np.full(frames, 440.0)), (verb, noun)


def boxes(shown: world.Scene, size: tuple[int, int]) -> np.ndarray:
  """(T, things, 4) in parts of the frame: where the things are, without the hand."""
  return world.boxes(shown, size, shown.objects[:-1])


def detections(shown: world.Scene, size: tuple[int, int], fps: float, rng: np.random.Generator
               ) -> dict[str, np.ndarray]:
  """What a detector would find in every third frame: arrays for `vidx.data.detections.write`.

  A feature tells the kind of a thing under noise; scores do not tell which one the hand is at.
  """
  index = np.arange(0, shown.frames, _EVERY)
  kinds = np.random.default_rng(5).normal(size=(len(NOUNS), FEATURES))
  nouns = [tuple(NOUNS.values()).index(thing.shape) for thing in shown.objects[:-1]]
  found = boxes(shown, size)[index]
  feats = kinds[nouns] + 0.3 * rng.normal(size=(len(index), len(nouns), FEATURES))
  return {"time_s": index / fps, "boxes": found, "scores": rng.uniform(0.5, 1, found.shape[:2]), "feats": feats,
          "frame_index": index}
