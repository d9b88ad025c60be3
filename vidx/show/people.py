"""People in boxes with what they do, drawn over videos: a sheet of the key frames, the video, and a page of all."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

import numpy as np

from vidx import errors, writing
from vidx.data import clips as clips_lib
from vidx.data.records import media_of
from vidx.show import clips, maps, page

KIND = "people"
SIDE = 240  # pixels of the short side of a picture
MOST = 48  # pictures of a sheet
FRAMES, SECONDS = 600, 60.0  # most of a drawn video
NAMED, LEAST = 3, 0.3  # most actions beside a box, and the score from which on those behind the first are named


def check(show: str) -> None:
  """Raises ConfigError for a kind of picture that a run of people in boxes has not."""
  if show != KIND:
    raise errors.ConfigError(f"--show={show}: what people in boxes do is drawn by --show={KIND}"
                             f"{errors.hint(show, (KIND,))}.")


def drawn(frame: np.ndarray, people: Sequence[Mapping[str, Any]]) -> np.ndarray:
  """A picture with boxes and the names of actions in them.

  Args:
    frame: uint8 (H, W, 3).
    people: [{'box': in parts of the frame, 'actions': [{'label', 'score'}, ...]}].

  Returns:
    uint8 (H, W, 3).
  """
  import cv2
  import matplotlib
  out = np.ascontiguousarray(frame).copy()
  height, width = out.shape[:2]
  scale = max(0.3, min(height, width) / 600)
  font, large = cv2.FONT_HERSHEY_SIMPLEX, 1.1 * scale
  for i, person in enumerate(people):
    colour = [round(255 * c) for c in matplotlib.colormaps["tab10"](i % 10)[:3]]
    x0, y0, x1, y1 = (round(v * side) for v, side in zip(person["box"], (width, height, width, height)))
    cv2.rectangle(out, (x0, y0), (min(x1, width) - 1, min(y1, height) - 1), colour, max(2, round(3 * scale)))
    named = [a for j, a in enumerate(person["actions"][:NAMED]) if not j or a["score"] >= LEAST]
    texts = [f"{action['label']} {100 * action['score']:.0f}%" for action in named]
    sizes = [cv2.getTextSize(text, font, large, 1) for text in texts]
    tall = sum(up + below + 1 for (_, up), below in sizes)
    top = max(0, y0 - tall)  # above the box where there is room
    for text, ((across, up), below) in zip(texts, sizes):
      left = max(0, min(x0, width - across))
      cv2.rectangle(out, (left, top), (left + across, top + up + below), colour, cv2.FILLED)
      cv2.putText(out, text, (left, top + up), font, large, (255, 255, 255), 1, cv2.LINE_AA)
      top += up + below + 1
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


def write(found: Sequence[Mapping[str, Any]], folder: str, title: str) -> str:
  """Writes NAME.png and NAME.mp4 of each video, and index.html with all of them inside.

  Args:
    found: entries of `vidx.infer.predict_people.predict`.
    folder: where; made where there is none.
    title: of the page.

  Returns:
    The path of the page.
  """
  shown = []
  for entry, name in zip(found, writing.file_names([f["path"] for f in found])):
    if entry["error"]:
      shown.append({"path": entry["path"], "error": entry["error"]})
      continue
    picture, film = pictures_of(entry)
    shown.append({"path": entry["path"], "error": "", "problems": entry["problems"],
                  **maps.keep(folder, name, picture, film)})
  path = os.path.join(folder, "index.html")
  page.write(path, "people.html", title=title, videos=shown)
  return path
