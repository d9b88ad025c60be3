"""People in boxes with what they do, drawn over videos: a sheet of the key frames, the video, and a page of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidx.data import clips as clips_lib
from vidx.data.records import media_of
from vidx.show import boxes, clips, maps

PAGE = "people.html"
SIDE = 240  # pixels of the short side of a picture
MOST = 48  # pictures of a sheet
FRAMES, SECONDS = 600, 60.0  # most of a drawn video
NAMED, LEAST = 3, 0.3  # most actions beside a box, and the score from which on those behind the first are named


def drawn(frame: np.ndarray, people: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """A picture with boxes and the names of actions in them.

  Args:
    frame: uint8 (H, W, 3).
    people: [{'box': in parts of the frame, 'actions': [{'label', 'score'}, ...]}].

  Returns:
    uint8 (H, W, 3).
  """
  import matplotlib
  out = np.ascontiguousarray(frame).copy()
  height, width = out.shape[:2]
  scale, marked = max(0.3, min(height, width) / 600), []
  for i, person in enumerate(people):
    colour = [round(255 * c) for c in matplotlib.colormaps["tab10"](i % 10)[:3]]
    corners = tuple(round(v * side) for v, side in zip(person["box"], (width, height, width, height)))
    named = [a for j, a in enumerate(person["actions"][:NAMED]) if not j or a["score"] >= LEAST]
    lines = [f"{action['label']} {boxes.share(action['score'])}" for action in named]
    marked.append(boxes.Box(corners, colour, max(2, round(3 * scale)), lines))
  boxes.draw(out, marked, 1.1 * scale)
  return out


def pictures_of(entry: Mapping[str, Any]) -> tuple[np.ndarray, bytes]:
  """The sheet of an entry's key frames, and its video as mp4 with the boxes of the nearest one, up to half a second.

  Raises:
    DecodeError: the video cannot be decoded.
  """
  frames = entry["frames"]
  at = np.array([frame["at"] for frame in frames])
  with clips_lib.open_media(media_of(entry["path"])) as video:
    chosen = maps.spread(len(frames), min(MOST, len(frames)))
    nearest = np.abs(video.timestamps[:, None] - at[chosen]).argmin(0)
    keys = video.frames(nearest, short_side=SIDE)
    first, last = clips_lib.frame_range(video.timestamps, (max(at[0] - 0.5, 0), min(at[-1], at[0] + SECONDS) + 0.5))
    shown = np.arange(first, last)[maps.spread(last - first, min(FRAMES, last - first))]
    film, times = video.frames(shown, short_side=SIDE), video.timestamps[shown]
    rate = video.fps * len(shown) / (last - first)
  made = [drawn(picture, frames[i]["people"]) for picture, i in zip(keys, chosen)]
  for i, time in enumerate(times):
    near = int(np.abs(at - time).argmin())
    if abs(at[near] - time) <= 0.5:
      film[i] = drawn(film[i], frames[near]["people"])
  return (maps.tiled(made, [f"{frames[i]['second']} s" for i in chosen]),
          clips.encode_mp4(film, max(1.0, rate), crf=23))
