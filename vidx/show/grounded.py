"""Phrases in images and videos: masks as files, pictures with the mask over them and a dot where it points."""

from collections.abc import Sequence
import os
import sys
from typing import Any

import cv2
import numpy as np

from vidx import errors, writing
from vidx.infer import ground, kinds, load
from vidx.metrics import grounding
from vidx.show import clips, maps, page, told
from vidx.terminal import counted

DOT = (0, 255, 255)  # cyan, as in the figures of the thesis


def main(loaded: load.Loaded, phrase: str, paths: Sequence[str], *, json: bool, show: str, out: str, workdir: str
         ) -> int:
  """`vidx predict --phrase`: writes masks and pictures into a folder and prints where phrases are; the exit status."""
  kinds.check_one(show, "--phrase")
  if os.path.isfile(out):
    raise errors.ConfigError(f"--out={out} is a file; with --phrase it is the folder of the masks.")
  grounder = ground.Grounder(loaded, ground.split(phrase))
  files = ground.find(paths)
  folder = out or os.path.join(workdir, "phrases")
  found = [write_file(grounder, path, folder, name) for path, name in zip(files, writing.file_names(files))]
  writing.write_json(os.path.join(folder, "phrases.json"), found)
  draw = lambda: write_page(found, grounder, folder, f"{loaded.config.system.name}, step {loaded.step}: phrases")
  status = told.tell(found, json=json, draw=draw if show else None, table=lambda some: to_table(some, grounder))
  print(f"masks: {folder}", file=sys.stderr if json else sys.stdout)
  return status


def write_file(grounder: ground.Grounder, path: str, folder: str, name: str) -> dict[str, Any]:
  """Grounds one file and writes what was found.

  Of an image FOLDER/NAME_I.png has the mask of phrase I in grey, 255 for 1, and
  FOLDER/NAME_I_over.png the picture; of a video FOLDER/NAME_I/000000.png, ... are the masks, and
  FOLDER/NAME_I.mp4 the pictures.

  Returns:
    {'path', 'error': None or why it cannot be decoded, 'frames', 'files': a picture or video per phrase, 'found':
    see `ground.described`}.
  """
  pictures: list[list[np.ndarray]] = [[] for _ in grounder.phrases]
  found, fps = [], 0.0
  try:
    for some in grounder.ground(path):
      found += ground.described(some, grounder.phrases)
      fps = some.fps
      for i in range(len(grounder.phrases)):
        for t, (frame, mask) in enumerate(zip(some.frames, some.masks[:, i])):
          at = f"{name}_{i}/{some.first + t:06d}.png" if fps else f"{name}_{i}.png"
          writing.write_bytes(os.path.join(folder, at), grey(mask))
          pictures[i].append(over(frame, mask))
  except errors.DecodeError as e:
    return {"path": path, "error": str(e), "frames": 0, "files": [], "found": []}
  files = []
  for i, some in enumerate(pictures):
    files.append(os.path.join(folder, f"{name}_{i}.mp4" if fps else f"{name}_{i}_over.png"))
    writing.write_bytes(files[-1], clips.encode_mp4(np.stack(some), fps, crf=20) if fps else maps.png(some[0]))
  return {"path": path, "error": None, "frames": len(found), "files": files, "found": found}


def grey(mask: np.ndarray) -> bytes:
  """A mask (H, W) in 0..1 as a png file; masks without an upper bound are cut at 1."""
  return cv2.imencode(".png", np.round(255 * np.clip(mask, 0, 1)).astype(np.uint8))[1].tobytes()


def over(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """uint8 (H, W, 3): a frame under the heat of its mask (H, W), with a dot where it is highest."""
  picture = np.ascontiguousarray(maps.heat(mask[None], frame[None])[0])
  x, y = grounding.point(mask)
  scale = picture.shape[1] / frame.shape[1], picture.shape[0] / frame.shape[0]
  at = (int((x + 0.5) * scale[0]), int((y + 0.5) * scale[1]))
  radius = max(2, min(picture.shape[:2]) // 40)
  cv2.circle(picture, at, radius + 1, (0, 0, 0), -1, cv2.LINE_AA)
  return cv2.circle(picture, at, radius, DOT, -1, cv2.LINE_AA)


def to_table(found: Sequence[dict[str, Any]], grounder: ground.Grounder) -> str:
  """What was found, for a terminal: per file and phrase the first frame's point, and unknown words."""
  lines = []
  for phrase, unknown in zip(grounder.phrases, grounder.unknown):
    lines += [f"{phrase}   ({unknown} of its words are unknown)"] if unknown else []
  for entry in found:
    for row in (entry["found"][0]["phrases"] if entry["found"] else ()):
      x, y = row["point"]
      many = f", first of {counted(entry['frames'], 'frame')}" if entry["frames"] > 1 else ""
      lines.append(f"{entry['path']}: {row['phrase']} at {x}, {y}{many}  {row['highest']:.3f}")
  return "\n".join(lines)


def write_page(found: Sequence[dict[str, Any]], grounder: ground.Grounder, folder: str, title: str) -> str:
  """Writes FOLDER/index.html with all pictures inside; its path."""
  shown = []
  for entry in found:
    pictures = []
    for phrase, unknown, file in zip(grounder.phrases, grounder.unknown, entry["files"]):
      with open(file, "rb") as f:
        content = f.read()
      video = file.endswith(".mp4")
      pictures.append({"phrase": phrase, "unknown": unknown, "video": video,
                       "uri": clips.data_uri(content, "video/mp4" if video else "image/png")})
    shown.append({**entry, "pictures": pictures})
  path = os.path.join(folder, "index.html")
  page.write(path, "grounded.html", title=title, files=shown)
  return path
