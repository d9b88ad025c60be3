"""Tiny video data sets for the tests of the input pipeline."""

import pathlib

import av
import cv2
from ml_collections import ConfigDict
import numpy as np

from vidx.data import batch as batch_lib
from vidx.data.records import Dataset, Media, Record
from vidx.train import config


def pictures(frames: int, seed: int, height: int = 48, width: int = 64) -> np.ndarray:
  """uint8 (frames, height, width, 3): a bright square that wanders over a plain colour."""
  rng = np.random.default_rng(seed)
  video = np.empty((frames, height, width, 3), np.uint8)
  video[:] = rng.integers(0, 128, 3)
  for t in range(frames):
    x = (5 * t + 7 * seed) % (width - 16)
    video[t, 8:24, x:x + 16] = 255
  return video


def write_video(path: pathlib.Path, frames: int = 12, seed: int = 0, fps: int = 25) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  with av.open(str(path), "w") as out:
    stream = out.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
    stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
    for picture in pictures(frames, seed):
      out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    out.mux(stream.encode())
  return path


def write_frames(folder: pathlib.Path, frames: int = 6, seed: int = 0) -> pathlib.Path:
  folder.mkdir(parents=True, exist_ok=True)
  for i, picture in enumerate(pictures(frames, seed)):
    cv2.imwrite(str(folder / f"{i + 1:05d}.jpg"), picture[..., ::-1])
  return folder


def dataset(root: pathlib.Path, videos: int, broken: tuple[int, ...] = (), split: str = "train") -> Dataset:
  """`videos` records of two classes, some of them text files."""
  records = []
  for i in range(videos):
    path = root / f"v{i}.mp4"
    if i in broken:
      path.write_text("not a video")
    elif not path.exists():
      write_video(path, seed=i)
    records.append(Record(f"v{i}", Media(str(path)), label=i % 2))
  return Dataset("tiny", split, tuple(records), ("even", "odd"))


def folder(root: pathlib.Path, train: int = 4, val: int = 2) -> pathlib.Path:
  """A folder of class folders under train/ and val/."""
  for split, count in (("train", train), ("val", val)):
    for i in range(count):
      write_video(root / split / ("jump", "run")[i % 2] / f"{split}{i}.mp4", seed=i)
  return root


def data_config(**changes) -> ConfigDict:
  """A small `config.data`."""
  data = config.base().data
  data.update({"frames": 4, "short_side": 40, "crop": 32, "workers": 0, **changes})
  return data


def pad(batch, size):
  """The batch with examples of weight 0 appended up to `size`."""
  have = len(batch["weight"])
  if have > size:
    raise ValueError(f"a batch of {have} examples does not fit into {size}.")
  padded = {}
  for key, value in batch.items():
    row = batch_lib.field(key)
    if row is not None and row.host:
      padded[key] = list(value) + [""] * (size - have)
    else:
      value = np.asarray(value)
      rest = np.full((size - have, *value.shape[1:]), row.fill if row else 0, value.dtype)
      padded[key] = np.concatenate([value, rest])
  return padded
