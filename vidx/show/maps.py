"""Maps of clips as pictures: a sheet of frames per video, the same as a moving clip, and a page of all."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import os
from typing import Any

import numpy as np

from vidx import writing
from vidx.infer.explain import Explained, Map
from vidx.infer.kinds import BOXES, HEARD, KEPT
from vidx.show import boxes, clips, page

ZERO = 128  # grey level of a signed map's zero
DROPPED = 0.2  # share of its brightness that is left of what a sampler drops
STRENGTH = 0.7  # share of the colour where a heat map is highest
NAMED = 0.5  # share of the largest weight from which on a candidate's is written beside it
LETTERS = 0.3  # scale of what is written into a picture
SIDE = 112  # pixels of a picture's short side, about
COLUMNS = 16  # most pictures in a row of a sheet
MARGIN, LINE = 4, 18  # pixels between pictures, and of a row's heading


def signed(values: np.ndarray) -> np.ndarray:
  """A signed map as colours: zero is mid-grey, and the clip's largest magnitude black or white.

  Args:
    values: (N, H, W, C); three channels are red, green and blue, of other numbers the mean is shown.

  Returns:
    uint8 (N, H, W, 3).
  """
  values = np.nan_to_num(values.astype(np.float32))
  if values.shape[-1] != 3:
    values = np.repeat(values.mean(-1, keepdims=True), 3, -1)
  scaled = values / max(np.abs(values).max(initial=0), np.finfo(np.float32).tiny)
  return np.round(ZERO + scaled * np.where(scaled < 0, ZERO, 255 - ZERO)).astype(np.uint8)


def heat(values: np.ndarray, frames: np.ndarray) -> np.ndarray:
  """A map of what is not negative, as colours over the frames: the clip's highest value is the most opaque.

  Args:
    values: (N, H', W'); each is of T / N frames.
    frames: uint8 (T, H, W, 3).

  Returns:
    uint8 (T, H, W, 3); a frame where its map is zero stays as it is.
  """
  import cv2
  import matplotlib
  values = np.nan_to_num(values.astype(np.float32))
  scaled = values / max(values.max(initial=0), np.finfo(np.float32).tiny)
  height, width = frames.shape[1:3]
  large = np.stack([cv2.resize(scaled[i], (width, height), interpolation=cv2.INTER_LINEAR)
                    for i in spread(len(scaled), len(frames))])
  colour = matplotlib.colormaps["turbo"](large)[..., :3] * 255
  share = STRENGTH * large[..., None]
  return np.round(frames * (1 - share) + colour * share).astype(np.uint8)


def kept(values: np.ndarray, frames: np.ndarray) -> np.ndarray:
  """What a sampler keeps as it is, and what it drops dark.

  Args:
    values: (N, H', W'), of evenly spread frames their patches; zero for what is dropped.
    frames: uint8 (T, H, W, 3).

  Returns:
    uint8 (T, H, W, 3).
  """
  import cv2
  height, width = frames.shape[1:3]
  stays = np.stack([cv2.resize(np.float32(values[i] > 0), (width, height), interpolation=cv2.INTER_NEAREST)
                    for i in spread(len(values), len(frames))])[..., None]
  return np.round(frames * (DROPPED + (1 - DROPPED) * stays)).astype(np.uint8)


def candidates(values: np.ndarray, frames: np.ndarray) -> np.ndarray:
  """Boxes in their frames: the stronger a box, the warmer and thicker; beside the strongest what each weighs.

  Args:
    values: (N, K, 5) of x0, y0, x1, y1 in pixels and a weight, not negative; a box without area is none.
    frames: uint8 (N, H, W, 3).

  Returns:
    uint8 (N, H', W', 3) of `tile_size`.
  """
  import matplotlib
  height, width = tile_size(frames)
  unit = np.array([width, height] * 2) / np.array([frames.shape[2], frames.shape[1]] * 2)
  most = max(values[..., 4].max(initial=0), np.finfo(np.float32).tiny)
  made = tiles(frames, height, width)
  for picture, found in zip(made, values):
    marked = []
    for *box, weight in sorted(found.tolist(), key=lambda box: -box[4]):
      x0, y0, x1, y1 = np.round(np.array(box) * unit).astype(int).tolist()
      if x1 <= x0 or y1 <= y0:
        continue
      share = weight / most
      colour = [round(255 * c) for c in matplotlib.colormaps["turbo"](share)[:3]]
      marked.append(boxes.Box((x0, y0, x1, y1), colour, 1 + round(2 * share),
                              (boxes.share(weight),) if share >= NAMED else ()))
    boxes.draw(picture, marked, LETTERS)
  return made


def spread(count: int, places: int) -> np.ndarray:
  """Which of `count` evenly spread things is at each of so many places, (places,)."""
  return np.arange(places) * count // places


def levels(values: np.ndarray) -> np.ndarray:
  """A spectrogram (N, F, T) as colours from its lowest to its highest level, uint8 (N, F, T, 3)."""
  import matplotlib
  values = values.astype(np.float32) - values.min(initial=0)
  scaled = values / max(values.max(initial=0), np.finfo(np.float32).tiny)
  return np.round(matplotlib.colormaps["magma"](scaled)[..., :3] * 255).astype(np.uint8)


def picture(shown: Map, frames: np.ndarray | None) -> np.ndarray:
  """uint8 (N, H, W, 3) of a map; `frames` are those of its clip."""
  if shown.kind in HEARD:
    return levels(shown.values)
  if shown.kind in BOXES:
    return candidates(shown.values, shown.beneath)
  if shown.values.ndim == 4:
    return signed(shown.values)
  frames = frames if shown.beneath is None else levels(shown.beneath)
  return (kept if shown.kind in KEPT else heat)(shown.values, frames)


def rows(explained: Explained) -> list[tuple[str, np.ndarray]]:
  """(heading, uint8 (N, H, W, 3)): the frames first, where there are some, then each map, then what is beside; maps of
  no length are left out."""
  of = " of flow" if explained.flow else ""
  made = [(f"input{of}", explained.frames)] if explained.frames is not None else []
  made += [(f"{m.kind} at {m.where}{of}", picture(m, explained.frames)) for m in explained.maps if len(m.values)]
  return made + (rows(explained.beside) if explained.beside else [])


def tiles(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
  """Pictures at another size, uint8 (N, height, width, 3)."""
  import cv2
  smaller = height < pictures.shape[1]
  how = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
  return np.stack([cv2.resize(p, (width, height), interpolation=how) for p in pictures])


def tile_size(frames: np.ndarray) -> tuple[int, int]:
  """(height, width), both even, of frames whose short side is brought near SIDE."""
  height, width = frames.shape[1:3]
  factor = SIDE / min(height, width)
  return tuple(max(2, 2 * round(side * factor / 2)) for side in (height, width))


def sheet(explained: Explained) -> np.ndarray:
  """All pictures of a clip in rows: frames in order, below them each map, where its part of the clip begins.

  Returns:
    uint8 (H, W, 3), at most COLUMNS pictures wide; of more, an even choice is shown.
  """
  import cv2
  many = rows(explained)
  height, width = tile_size(many[0][1])
  columns = min(COLUMNS, max(len(p) for _, p in many))
  canvas = np.full((len(many) * (LINE + height + MARGIN) + MARGIN, columns * (width + MARGIN) + MARGIN, 3), 255,
                   np.uint8)
  for i, (heading, pictures) in enumerate(many):
    top = i * (LINE + height + MARGIN) + LINE
    cv2.putText(canvas, heading, (MARGIN, top - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    shown = tiles(pictures[spread(len(pictures), min(columns, len(pictures)))], height, width)
    for j, tile in enumerate(shown):
      left = MARGIN + (j * columns // len(shown)) * (width + MARGIN)
      canvas[top:top + height, left:left + width] = tile
  return canvas


def moving(explained: Explained) -> np.ndarray:
  """The frames and each map side by side, uint8 (T, H, W, 3); a map of fewer frames stays while its part lasts."""
  many = [p for _, p in rows(explained)]
  sides = [tiles(p, *tile_size(many[0])) for p in many]
  count = max(map(len, sides))
  return np.concatenate([s[spread(len(s), count)] for s in sides], axis=2)


def tiled(pictures: Sequence[np.ndarray], headings: Sequence[str], columns: int = 6) -> np.ndarray:
  """Pictures of one size in rows of so many, each below its heading: uint8 (H, W, 3)."""
  import cv2
  height, width = pictures[0].shape[:2]
  columns = min(columns, len(pictures))
  down, across = LINE + height + MARGIN, width + MARGIN
  canvas = np.full((-(-len(pictures) // columns) * down + MARGIN, columns * across + MARGIN, 3), 255, np.uint8)
  for i, (picture, heading) in enumerate(zip(pictures, headings)):
    top, left = i // columns * down + LINE, MARGIN + i % columns * across
    cv2.putText(canvas, heading, (left, top - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
    canvas[top:top + height, left:left + width] = picture
  return canvas


def png(image: np.ndarray) -> bytes:
  """A uint8 (H, W, 3) RGB image as a PNG file."""
  import cv2
  return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()


def keep(folder: str, name: str, sheet: np.ndarray, clip: bytes) -> dict[str, str]:
  """Writes what is shown of a video into a folder, which is made where there is none.

  Args:
    folder: where.
    name: of its files, without an ending.
    sheet: uint8 (H, W, 3), FOLDER/NAME.png.
    clip: an mp4 file, FOLDER/NAME.mp4.

  Returns:
    {'sheet', 'clip'}, links for a page that hold both.
  """
  picture = png(sheet)
  writing.write_bytes(os.path.join(folder, f"{name}.png"), picture)
  writing.write_bytes(os.path.join(folder, f"{name}.mp4"), clip)
  return {"sheet": clips.data_uri(picture, "image/png"), "clip": clips.data_uri(clip, "video/mp4")}


def write(explained: Iterable[Explained], found: Sequence[Mapping[str, Any]], folder: str, title: str,
          beside: Iterable[Explained] = ()) -> str:
  """Writes NAME.png and NAME.mp4 of each video, and index.html with all of them inside.

  Args:
    explained: the videos that could be decoded, in the order of `found`.
    found: what `predict` found.
    folder: where; made where there is none.
    title: of the page.
    beside: what another run sees in the same videos.

  Returns:
    The path of the page.
  """
  names = dict(zip((f["path"] for f in found), writing.file_names([f["path"] for f in found])))
  shown, others = {}, {other.path: other for other in beside}
  for one in explained:
    one = dataclasses.replace(one, beside=others.get(one.path))
    frames = moving(one)
    clip = clips.encode_mp4(frames, min(25.0, max(2.0, len(frames) / 3)), crf=20)
    shown[one.path] = {
        **keep(folder, names[one.path], sheet(one), clip),
        "order": [heading for heading, _ in rows(one)],
        "boxes": any(m.kind in BOXES for m in one.maps),
        "explains": one.label if any(m.kind == "gradcam" for m in one.maps) else ""}
  path = os.path.join(folder, "index.html")
  page.write(path, "maps.html", title=title, videos=[{**f, **shown.get(f["path"], {})} for f in found])
  return path
