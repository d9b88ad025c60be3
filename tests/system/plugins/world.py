"""Clips of a bright square that moves, with its boxes and words: a data set of which the package knows nothing."""

import json
import os

import av
import numpy as np

from vidx.data.records import Dataset, Media, Record

FRAMES, HEIGHT, WIDTH, SIDE = 8, 40, 56, 12
WORDS = ("red", "green", "blue", "left", "right")
COLOURS = np.array([[255, 40, 40], [40, 255, 40], [40, 40, 255]], np.uint8)


def write(root, train=12, val=6):
  """Videos, and annotations.json: [{path, split, words, boxes: per frame [x0, y0, x1, y1, label] in 0..1}]."""
  root.mkdir(parents=True)
  rng, entries = np.random.default_rng(0), []
  for i in range(train + val):
    colour, right = i % 3, bool((i // 3) % 2)
    video = np.full((FRAMES, HEIGHT, WIDTH, 3), 16, np.uint8)
    boxes, y = [], int(rng.integers(4, HEIGHT - SIDE - 4))
    for t in range(FRAMES):
      x = 4 + 4 * t if right else WIDTH - SIDE - 4 - 4 * t
      video[t, y:y + SIDE, x:x + SIDE] = COLOURS[colour]
      other = (x + WIDTH // 2) % (WIDTH - SIDE)
      inside = [(x, y, 1), *[(other, y, 0)] * (i % 3)]  # one to three boxes a frame
      boxes.append([[a / WIDTH, b / HEIGHT, (a + SIDE) / WIDTH, (b + SIDE) / HEIGHT, label] for a, b, label in inside])
    name = f"clip{i:02d}.mp4"
    with av.open(str(root / name), "w") as out:
      stream = out.add_stream("libx264", rate=10, options={"crf": "8", "preset": "ultrafast"})
      stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
      for picture in video:
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
      out.mux(stream.encode())
    entries.append({"path": name, "split": "train" if i < train else "val", "words": [colour, 4 if right else 3],
                    "boxes": boxes})
  (root / "annotations.json").write_text(json.dumps(entries))
  return root


def read(root, split):
  """The reader of a split."""
  with open(os.path.join(root, "annotations.json"), encoding="utf-8") as f:
    entries = [e for e in json.load(f) if e["split"] == split]
  return Dataset("world", split, tuple(
      Record(e["path"], Media(os.path.join(root, e["path"])), extra={"words": e["words"], "boxes": e["boxes"]})
      for e in entries))
