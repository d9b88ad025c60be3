"""ActivityNet Captions: several sentences per video, which are one text when joined (data.text.captions).

  root/train.json, root/val_1.json, root/val_2.json    {"v_<id>": {"duration", "timestamps", "sentences"}}
  root/experts/...                                     features by v_<id>, or files of videos

'val' and 'test' are val_1, 4,917 videos, on which paragraphs are tested.

Krishna et al.: "Dense-Captioning Events in Videos", 2017.
"""

from vidx import errors
from vidx.data.datasets import captions as captions_lib
from vidx.data.datasets import common, places
from vidx.data.records import Dataset

_FOLDERS = ("", "annotations", "captions")
_FILES = {"train": "train.json", "val": "val_1.json", "test": "val_1.json"}


def read(root: str, split: str, file: str = "", media: str = "experts", experts: str = "experts") -> Dataset:
  """Reads one split; raises DataError for a file that cannot be used.

  Args:
    root: folder of annotations and media.
    split: "train", "val" or "test".
    file: json of the split, below the root; empty: train.json or val_1.json.
    media: "experts" or "video".
    experts: folder of features below the root.
  """
  path = places.annotation(root, (file or _FILES[split],), _FOLDERS)
  content = common.read_json(path)
  found = []
  try:
    for name, video in content.items():
      texts = tuple(captions_lib.cleaned(str(s)) for s in video["sentences"])
      order = sorted(range(len(texts)), key=lambda i: tuple(video["timestamps"][i]))
      found.append((name, tuple(texts[i] for i in order), {"duration": float(video["duration"])}))
  except (KeyError, TypeError, AttributeError, ValueError, IndexError) as e:
    raise errors.DataError(f"{path}, entry {len(found) + 1}: no 'duration', 'timestamps' and 'sentences'"
                           f" ({type(e).__name__}: {e}).") from None
  return captions_lib.dataset("activitynet_captions", root, split, found, media, experts)
