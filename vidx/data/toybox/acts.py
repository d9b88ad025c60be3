"""Acts: up to three people side by side, each doing one thing or several, one of which only their sound tells.

A person is a body with a head, who stands, walks or jumps, and may hold a star or a bell. Bells
ring in half of the videos, for all who hold one. Colours and places tell nothing.
"""

from typing import NamedTuple

import numpy as np

from vidx.data.toybox import world

CLASSES = ("stand", "walk left", "walk right", "jump", "hold a star", "ring a bell")
SCORED = tuple(range(1, len(CLASSES)))  # class ids that are evaluated
_POSES, _STAR, _BELL = 4, 4, 5
_SKIN, _PLACES = (226, 172, 140), (0.2, 0.5, 0.8)
_HEAD, _AWAY = 0.55, 1.25  # of the body's half extent: that of the head, and how far above it is


class Person(NamedTuple):
  """What one does and where one is.

  Attributes:
    actions: class ids.
    x: centre of the body in every frame, as a share of the width.
    y: the same as a share of the height.
    size: half extent of the body as a share of the shorter side.
  """

  actions: tuple[int, ...]
  x: tuple[float, ...]
  y: tuple[float, ...]
  size: float


People = tuple[Person, ...]


def scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, People]:
  """One to three people, the first of whom does what the class says."""
  del split
  time, still = np.linspace(-1, 1, frames), np.zeros(frames)
  rings = bool(rng.uniform() < 0.5) or label == _BELL
  places = rng.permutation(_PLACES)[:int(rng.integers(1, len(_PLACES) + 1))]
  objects, people = [], []
  for i, place in enumerate(places):
    pose = label if i == 0 and label < _POSES else int(rng.integers(_POSES))
    held = label if i == 0 and label >= _POSES else int(rng.choice([-1, _STAR, _BELL]))
    size, way = rng.uniform(0.1, 0.12), {1: -1, 2: 1}.get(pose, 0)
    x = place + rng.uniform(-0.01, 0.01) + 0.07 * way * time
    y = rng.uniform(0.52, 0.62) + still
    if pose == 3:
      y = y - 0.14 * np.abs(np.sin(np.pi * (rng.uniform() + 2.5 * time)))
    colour = world.some(rng, tuple(world.COLOURS.values()))
    objects += [world.Object("triangle", colour, x, y, size + still, still),
                world.Object("circle", _SKIN, x, y - _AWAY * size, _HEAD * size + still, still)]
    if held >= 0:
      shape, own = ("star", (245, 205, 48)) if held == _STAR else ("cross", (150, 155, 165))
      objects.append(world.Object(shape, own, x + 0.6 * size, y - 0.1 * size, 0.4 * size + still, still))
    does = (pose, *([held] if held == _STAR or (held == _BELL and rings) else []))
    people.append(Person(does, tuple(x.tolist()), tuple(y.tolist()), size))
  background = world.some(rng, world.BACKGROUNDS)
  shown = world.Scene(background, int(rng.integers(1 << 31)), tuple(objects), np.zeros((frames, 2)),
                      rng.uniform(700, 1000) + still, loudness=np.full(frames, float(rings)),
                      hum=float(rng.uniform(3000, 7000)))
  return shown, tuple(people)


def boxes(people: People, size: tuple[int, int], frame: int) -> np.ndarray:
  """(N, 4) in parts of a picture of `size`, height and width: the people in a frame, from head to hem."""
  height, width = size
  found = []
  for person in people:
    x, y, side = person.x[frame] * width, person.y[frame], person.size * min(height, width)
    left, right, low = (world.PLAIN["triangle"] * side)[:, 0].min(), *(world.PLAIN["triangle"] * side).max(0)
    found.append((x + left, (y - _AWAY * person.size) * height - _HEAD * side, x + right, y * height + low))
  return np.clip(np.array(found) / np.array([width, height] * 2), 0, 1)
