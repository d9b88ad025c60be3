"""Boxes of every frame drawn over their videos, one colour a track, and beside them what is remembered where."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidx.data import clips as clips_lib
from vidx.data.records import media_of
from vidx.show import boxes as boxes_lib, clips, maps

PAGE = "tracks.html"
SIDE = 240  # pixels of the short side of a picture
LETTERS = 0.36  # scale of what is written
FRAMES, MOST = 600, 24  # most of a drawn video, and pictures of a sheet


def drawn(frame: np.ndarray, boxes: Sequence[Mapping[str, Any]], size: Sequence[int]) -> np.ndarray:
  """A picture with boxes, their classes, scores and tracks.

  Args:
    frame: uint8 (H, W, 3).
    boxes: [{'label', 'score', 'track', 'box': in pixels of a frame of `size`}].
    size: height and width.

  Returns:
    uint8 (H, W, 3).
  """
  import matplotlib
  out = np.ascontiguousarray(frame).copy()
  across, down = out.shape[1] / size[1], out.shape[0] / size[0]
  marked = []
  for b in sorted(boxes, key=lambda b: -b["score"]):
    track = b["track"] if b["track"] >= 0 else None
    number = track if track is not None else sum(map(ord, b["label"]))
    colour = [round(255 * c) for c in matplotlib.colormaps["tab10"](number % 10)[:3]]
    corners = tuple(round(v * s) for v, s in zip(b["box"], (across, down, across, down)))
    text = b["label"] + (f" #{track}" if track is not None else "") + f" {boxes_lib.share(min(b['score'], 9.99))}"
    marked.append(boxes_lib.Box(corners, colour, 1 if track is None else 2, (text,)))
  boxes_lib.draw(out, marked, LETTERS)
  return out


def pictures_of(entry: Mapping[str, Any]) -> tuple[np.ndarray, bytes]:
  """A sheet of some frames of an entry with its boxes, the memory to the right of them, and all of them as mp4.

  Raises:
    DecodeError: the video cannot be decoded.
  """
  of = {frame["frame"]: frame["boxes"] for frame in entry["frames"]}
  shown = maps.spread(entry["count"], min(FRAMES, entry["count"]))
  with clips_lib.open_media(media_of(entry["path"])) as video:
    frames = video.frames(shown, short_side=SIDE)
  film = np.stack([drawn(f, of.get(int(i), ()), entry["size"]) for f, i in zip(frames, shown)])
  if "memory" in entry:
    film = np.concatenate([film, maps.heat(entry["memory"][shown], frames)], 2)
  chosen, rate = maps.spread(len(film), min(MOST, len(film))), entry["fps"] * len(shown) / entry["count"]
  return (maps.tiled([film[i] for i in chosen], [f"frame {shown[i]}" for i in chosen]),
          clips.encode_mp4(film, max(1.0, rate), crf=23))
