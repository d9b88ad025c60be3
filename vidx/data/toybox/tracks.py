"""Tracks: things of eight shapes that move, with their boxes in every frame, some of which hide what a thing is.

Colours tell nothing of the class. In two of five frames the picture is blurred, or a grey square lies over a thing:
where it is can be seen, what it is only in frames nearby.
"""

from collections.abc import Sequence
import os

import numpy as np

from vidx import writing
from vidx.data.toybox import world

CLASSES = ("circle", "square", "triangle", "star", "cross", "arrow", "flag", "hook")
HARD = 0.4  # share of the frames that are blurred or occluded
_BLUR = 0.5  # deviation, of a thing's half extent


def _path(frames: int, size: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
  """Back and forth between the borders at a steady speed, slowly turning."""
  at = np.arange(frames)

  def along():
    start, speed = rng.uniform(0, 2), rng.uniform(0.03, 0.12) * rng.choice([-1, 1])
    share = np.abs((start + speed * at) % 2 - 1)  # a triangle wave of 0..1
    return size + share * (1 - 2 * size)

  return {"x": along(), "y": along(), "size": np.full(frames, size),
          "angle": rng.uniform(-0.4, 0.4) + 0.02 * rng.choice([-1, 1]) * at}


def scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, tuple[int, ...]]:
  """One to three things, the first one of the class; the label are the classes of all.

  Occluders follow the things, from back to front; `hard` says which frames are blurred or occluded.
  """
  del split
  count = int(rng.integers(1, 4))
  labels = (label, *(int(n) for n in rng.integers(0, len(CLASSES), count - 1)))
  things = []
  for n in labels:
    colour = world.some(rng, tuple(world.COLOURS.values()))
    things.append(world.Object(CLASSES[n], colour, **_path(frames, rng.uniform(0.13, 0.2), rng)))
  # Runs of one to three frames, until the share is reached.
  blurred, hidden = np.zeros(frames, bool), np.zeros((count, frames), bool)
  while (blurred | hidden.any(0)).sum() < round(HARD * frames):
    run = slice(start := int(rng.integers(frames)), start + int(rng.integers(1, 4)))
    if rng.random() < 0.5:
      blurred[run] = True
    else:
      hidden[int(rng.integers(count)), run] = True
  shades = rng.integers(90, 170, count)
  covers = [world.Object("square", (int(shade),) * 3, o.x, o.y, np.where(hide, 1.25 * o.size, 0), np.zeros(frames))
            for o, hide, shade in zip(things, hidden, shades)]
  camera = np.cumsum(rng.normal(0, 0.2, (frames, 2)), axis=0)
  background = world.some(rng, world.BACKGROUNDS)
  blur = np.where(blurred, _BLUR * np.mean([o.size[0] for o in things]), 0.0)
  return world.Scene(background, int(rng.integers(1 << 31)), (*things, *covers), camera - camera.mean(axis=0),
                     np.full(frames, 440.0), blur=blur), labels


def boxes(shown: world.Scene, size: tuple[int, int]) -> np.ndarray:
  """(T, things, 4) in parts of the frame."""
  return world.boxes(shown, size, shown.objects[:len(shown.objects) // 2])


def hard(shown: world.Scene) -> np.ndarray:
  """bool (T, things): where the picture is blurred or a thing is occluded."""
  covers = shown.objects[len(shown.objects) // 2:]
  return (np.stack([o.size for o in covers], 1) > 0) | (shown.blur > 0)[:, None]


# ---------------------------------------------------------------- as ImageNet VID has it

IMAGES = "{:06d}.JPEG"  # names of frames


def write_xml(folder: str, shown: world.Scene, labels: Sequence[int], size: tuple[int, int]) -> None:
  """Writes the boxes of every frame; `occluded` says which things are hidden or blurred."""
  found, covered = boxes(shown, size), hard(shown)
  height, width = size
  for t, rows in enumerate(found):
    things = []
    for track, ((x0, y0, x1, y1), label) in enumerate(zip(rows, labels)):
      corners = f"<xmax>{x1 * width:.2f}</xmax><xmin>{x0 * width:.2f}</xmin>"
      corners += f"<ymax>{y1 * height:.2f}</ymax><ymin>{y0 * height:.2f}</ymin>"
      things.append(f"<object><trackid>{track}</trackid><name>{code(label)}</name><bndbox>{corners}</bndbox>"
                    f"<occluded>{int(covered[t, track])}</occluded><generated>0</generated></object>")
    text = (f"<annotation><folder>{os.path.basename(folder)}</folder><filename>{t:06d}</filename>"
            f"<size><width>{width}</width><height>{height}</height></size>{''.join(things)}</annotation>\n")
    writing.write_text(os.path.join(folder, f"{t:06d}.xml"), text)


def code(label: int) -> str:
  """The synset of a class."""
  return f"n{label + 1:08d}"
