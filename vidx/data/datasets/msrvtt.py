"""MSR-VTT: 10,000 videos of the web with 20 captions each, in three ways of testing.

  root/MSRVTT_data.json      or train_val_videodatainfo.json with test_videodatainfo.json
  root/experts/...           features, see vidx/data/experts.py; or files of videos

  1k-A    train_list_jsfusion.txt, 9,000 videos (absent: all that are not tested); tested are the 1,000 of
          MSRVTT_JSFUSION_test.csv with the caption named there
  1k-B    train_list_miech.txt, 6,656 videos; test_list_miech.txt, 1,000 videos with their first caption
  full    {train,val,test}_list_full.txt, 6,513, 497 and 2,990 videos with all captions

Without lists of `full` the splits are those in the json. 1k-A and 1k-B have no videos for validation:
'val' is 'test' there.

Xu et al.: "MSR-VTT: A Large Video Description Dataset for Bridging Video and Language", 2016.
"""

from collections.abc import Mapping
import os
from typing import Any

from vidx import errors
from vidx.data.datasets import captions as captions_lib
from vidx.data.datasets import common, places
from vidx.data.records import Dataset

PROTOCOLS = ("1k-A", "1k-B", "full")
_FOLDERS = ("", "annotations", "structured-symlinks", "high-quality/structured-symlinks", "aligned_text")
_JSON = ("MSRVTT_data.json", "train_val_videodatainfo.json", "videodatainfo_2017.json", "test_videodatainfo.json")
_PAIRS = ("MSRVTT_JSFUSION_test.csv", "msrvtt_test.csv")
_SPLITS = {"train": "train", "validate": "val", "val": "val", "test": "test"}


def read(root: str, split: str, protocol: str = "1k-A", media: str = "experts", experts: str = "experts") -> Dataset:
  """Reads one split.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    protocol: one of PROTOCOLS.
    media: "experts" or "video".
    experts: folder of features below the root.

  Raises:
    ConfigError: another protocol.
    DataError: a file or line that cannot be used.
  """
  errors.check_choice("data.dataset.protocol", protocol, PROTOCOLS)
  find = lambda *names: places.annotation(root, names, _FOLDERS)
  if protocol == "1k-A":
    found = _jsfusion(root, split, find)
  elif protocol == "1k-B":
    videos, _ = _videos(root)
    names = _list(find("train_list_miech.txt" if split == "train" else "test_list_miech.txt"), videos)
    found = [(n, videos[n] if split == "train" else videos[n][:1], {}) for n in names]
  else:
    videos, splits = _videos(root)
    path = find(f"{split}_list_full.txt")
    names = _list(path, videos) if os.path.isfile(path) else [n for n in videos if splits.get(n) == split]
    found = [(n, videos[n], {}) for n in names]
  return captions_lib.dataset("msrvtt", root, split, found, media, experts)


def _jsfusion(root: str, split: str, find) -> list[tuple[str, tuple[str, ...], Mapping[str, Any]]]:
  path = find(*_PAIRS)
  if not os.path.isfile(path):
    raise errors.AbsentError(f"annotation file {path} does not exist: protocol '1k-A' tests its pairs; with"
                             " protocol=full the splits are those of lists or of the json.")
  if split != "train":
    return [(name, (text,), {}) for name, text in _pairs(path).items()]
  videos, _ = _videos(root)
  names = find("train_list_jsfusion.txt")
  if os.path.isfile(names):
    return [(n, videos[n], {}) for n in _list(names, videos)]
  tested = _pairs(path)
  return [(n, texts, {}) for n, texts in videos.items() if n not in tested]


def _pairs(path: str) -> dict[str, str]:
  """The caption of each video that is tested."""
  seen: dict[str, int] = {}
  found = {}
  for line, row in common.read_table(path, ("video_id", "sentence")):
    common.not_twice(row["video_id"], seen, path, line)
    found[row["video_id"]] = captions_lib.cleaned(row["sentence"])
  return found


def _list(path: str, videos: Mapping[str, Any]) -> list[str]:
  """Names of a list, all of which have captions."""
  seen: dict[str, int] = {}
  for line, name in enumerate(common.read_lines(path), 1):
    if name.strip():
      common.not_twice(name.strip(), seen, path, line)
      if name.strip() not in videos:
        raise errors.DataError(f"{path}, line {line}: no caption tells of video '{name.strip()}'"
                               f"{errors.hint(name.strip(), videos)}.")
  return list(seen)


def _videos(root: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
  """Captions by video, in the order of the file, and the split of each where it says so."""
  paths = [p for n in _JSON if os.path.isfile(p := places.annotation(root, (n,), _FOLDERS))]
  if not paths:
    raise errors.AbsentError(f"annotation file {os.path.join(root, _JSON[0])} does not exist.")
  captions: dict[str, list[str]] = {}
  splits: dict[str, str] = {}
  for path in paths if os.path.basename(paths[0]) != _JSON[0] else paths[:1]:
    content = common.read_json(path)
    try:
      for video in content["videos"]:
        captions.setdefault(str(video["video_id"]), [])
        splits[str(video["video_id"])] = _SPLITS.get(str(video.get("split", "")), "")
      rows = [(str(s["video_id"]), captions_lib.cleaned(str(s["caption"]))) for s in content["sentences"]]
    except (KeyError, TypeError, AttributeError) as e:
      raise errors.DataError(f"{path}: no lists 'videos' and 'sentences' as MSR-VTT has them"
                             f" ({type(e).__name__}: {e}).") from None
    for i, (video, text) in enumerate(rows, 1):
      if video not in captions:
        raise errors.DataError(f"{path}, sentence {i}: there is no video '{video}'{errors.hint(video, captions)}.")
      captions[video].append(text)
  return {name: tuple(texts) for name, texts in captions.items() if texts}, splits
