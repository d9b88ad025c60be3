"""Boxes over pictures, each with what is said of it in a place where it hides no other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_PAD = 1  # pixels around a line of text
_BRIGHT = 150.0  # of a colour from which on black is read more easily than white


class Box(NamedTuple):
  """A box to draw.

  Attributes:
    corners: x0, y0, x1, y1 in pixels, whole ones.
    colour: red, green, blue.
    thick: pixels of its line.
    lines: what is said of it, from the top.
  """

  corners: tuple[int, int, int, int]
  colour: Sequence[int]
  thick: int
  lines: Sequence[str]


def share(score: float) -> str:
  """A score as pictures have it, such as '87%'."""
  return f"{100 * score:.0f}%"


def draw(picture: np.ndarray, marked: Sequence[Box], scale: float) -> None:
  """Draws boxes into a picture, and then their lines, on the colour of their box.

  Lines are above their box, else below, at its inner edges or as near as there is room beside those of others; where
  there is none, they cover the least.

  Args:
    picture: uint8 (H, W, 3), contiguous; it is changed.
    marked: the most important first: it lies over the others, and its lines come first to their place.
    scale: of the letters, as OpenCV has it; less for lines that are wider than the picture.
  """
  import cv2
  height, width = picture.shape[:2]
  for box in reversed(marked):
    x0, y0, x1, y1 = box.corners
    cv2.rectangle(picture, (x0, y0), (min(x1, width) - 1, min(y1, height) - 1), box.colour, box.thick)
  taken: list[tuple[int, int, int, int]] = []
  for box in marked:
    if not box.lines:
      continue
    sizes, fitting = _sizes(box.lines, scale, width)
    across = max(w for w, *_ in sizes) + 2 * _PAD
    tall = sum(up + down + 2 * _PAD for _, up, down in sizes)
    left, top = place(box.corners, (across, tall), (width, height), taken)
    taken.append((left, top, left + across, top + tall))
    cv2.rectangle(picture, (left, top), (left + across - 1, top + tall - 1), box.colour, cv2.FILLED)
    ink = (0, 0, 0) if np.dot(box.colour, (0.299, 0.587, 0.114)) > _BRIGHT else (255, 255, 255)
    for line, (_, up, down) in zip(box.lines, sizes):
      cv2.putText(picture, line, (left + _PAD, top + _PAD + up), cv2.FONT_HERSHEY_SIMPLEX, fitting, ink, 1, cv2.LINE_AA)
      top += up + down + 2 * _PAD


def place(box: Sequence[int], size: tuple[int, int], room: tuple[int, int], taken: Sequence[Sequence[int]]
          ) -> tuple[int, int]:
  """Where the lines of a box go: left, top.

  Args:
    box: x0, y0, x1, y1.
    size: width and height of the lines.
    room: width and height of the picture.
    taken: x0, y0, x1, y1 of other lines, which are not covered where there is another place.
  """
  (x0, y0, x1, y1), (across, tall), (width, height) = box, size, room
  near = [(x, y) for y in (y0 - tall, y1, y0, y1 - tall) for x in (x0, x1 - across)]
  near = [at for at in near if 0 <= at[1] <= height - tall] or [(x0, y0)]
  further = sorted(((x, y) for y in range(0, height - tall + 1, max(1, tall // 2)) for x in (x0, x1 - across)),
                   key=lambda at: abs(at[1] - near[0][1]))
  inside = [(max(0, min(x, width - across)), max(0, min(y, height - tall))) for x, y in (*near, *further)]
  covered = lambda at: sum(max(0, min(at[0] + across, b[2]) - max(at[0], b[0]))
                           * max(0, min(at[1] + tall, b[3]) - max(at[1], b[1])) for b in taken)
  return min(inside, key=covered)


def _sizes(lines: Sequence[str], scale: float, width: int) -> tuple[list[tuple[int, int, int]], float]:
  """(width, height above the line, below it) of each, and the scale at which all are as wide as the picture at most."""
  import cv2
  measured = lambda by: [(w, up, down) for (w, up), down in (
      cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, by, 1) for line in lines)]
  widest = max(w for w, *_ in measured(scale)) + 2 * _PAD
  scale = scale * min(1.0, width / widest)
  return measured(scale), scale
