"""Objects of videos over their frames: boxes and masks of the best tubes, as a moving clip, a sheet and a page."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

import numpy as np

from vidx.data import clips as clips_lib
from vidx.data.records import media_of
from vidx.show import boxes as boxes_lib, clips, maps, page

COLOURS = ((230, 60, 60), (60, 130, 235), (70, 190, 90), (240, 180, 40), (170, 90, 210), (60, 200, 200),
           (240, 120, 180), (150, 150, 60))
LETTERS = 0.45  # scale of a tube's number
STRENGTH = 0.45  # share of a mask's colour
SIDE, COLUMNS, TUBES, FRAMES = 240, 6, 5, 120  # pixels of a short side, pictures of a sheet, tubes and frames shown


def draw(frames: np.ndarray, boxes: np.ndarray, masks: Sequence[np.ndarray] = ()) -> np.ndarray:
  """Frames with tubes over them, masks below boxes; the first tube is drawn last, over the others.

  Args:
    frames: uint8 (N, H, W, 3).
    boxes: (K, N, 4) in pixels of the frames.
    masks: of some of the first tubes, bool (N, H', W').

  Returns:
    uint8 (N, H, W, 3).
  """
  import cv2
  made = np.ascontiguousarray(frames)
  made = made.copy() if made is frames else made
  height, width = frames.shape[1:3]
  colours = [COLOURS[k % len(COLOURS)] for k in range(len(boxes))]
  for t, picture in enumerate(made):
    for k in reversed(range(min(len(boxes), len(masks)))):
      mask = cv2.resize(masks[k][t].astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
      picture[mask] = np.round(picture[mask] * (1 - STRENGTH) + np.array(colours[k]) * STRENGTH)
      edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
      cv2.drawContours(picture, edges, -1, colours[k], 1)
    corners = np.round(boxes[:, t]).astype(int).tolist()
    boxes_lib.draw(picture, [boxes_lib.Box(tuple(box), colours[k], 1 if k else 2, (str(k + 1),))
                             for k, box in enumerate(corners)], LETTERS)
  return made


def pictures(found: Any, tubes: int = TUBES, side: int = SIDE) -> np.ndarray:
  """uint8 (N, H, W, 3): the frames of a video with its best tubes, small; an even choice of long videos.

  Args:
    found: `vidx.infer.proposals.propose.Found`.
    tubes: how many are drawn.
    side: pixels of the short side.
  """
  shown = np.unique(np.linspace(0, len(found.frames) - 1, min(FRAMES, len(found.frames))).round().astype(int))
  side = min(side, *found.size)
  with clips_lib.open_media(media_of(found.path)) as video:
    frames = video.frames(found.frames[shown], short_side=side)
  unit = np.tile(np.array(frames.shape[2:0:-1]) / found.size[::-1], 2)
  masks = [found.mask(k)[shown] for k in range(min(tubes, len(found.masks)))]
  return draw(frames, found.boxes[:tubes, shown] * unit, masks)


def write(done: Sequence[Mapping[str, Any]], folder: str, title: str, tubes: int = TUBES) -> str:
  """Writes FOLDER/NAME.mp4 and FOLDER/NAME.png of each video, and FOLDER/index.html with all.

  Args:
    done: of `vidx.infer.proposals.propose.main`; an entry may have 'figures', {name: number}, beside.
    folder: where.
    title: of the page.
    tubes: how many are drawn.

  Returns:
    Path of the page.
  """
  videos = []
  for entry in done:
    found = entry["found"]
    if found is None:
      videos.append({"path": entry["path"], "error": entry["error"]})
      continue
    drawn = pictures(found, tubes)
    clip = clips.encode_mp4(drawn, max(1.0, min(found.fps, 25.0)))
    places = np.unique(np.linspace(0, len(drawn) - 1, min(COLUMNS, len(drawn))).round().astype(int))
    kept = maps.keep(folder, found.name, np.concatenate(list(drawn[places]), 1), clip)
    colour = lambda k: "rgb({}, {}, {})".format(*COLOURS[k % len(COLOURS)])
    colours = [{"rank": k + 1, "score": f"{found.score[k]:.3f}", "colour": colour(k)}
               for k in range(min(tubes, len(found.score)))]
    videos.append({"path": found.path, "error": None, "notes": found.notes, **kept, "tubes": colours,
                   "count": len(found.score), "figures": entry.get("figures") or {},
                   "seconds": f"{sum(found.seconds.values()) / len(found.frames):.2f}"})
  path = os.path.join(folder, "index.html")
  page.write(path, "tubes.html", title=title, videos=videos)
  return path
