"""What the readers of captions share: where the features or files of their videos are."""

from collections.abc import Iterable, Mapping
from typing import Any

from vidx import errors
from vidx.data import experts as experts_lib, media_files
from vidx.data.datasets import places
from vidx.data.records import Dataset, Media, Record
from vidx.terminal import counted

MEDIA = ("experts", "video")


def dataset(name: str, root: str, split: str, found: Iterable[tuple[str, tuple[str, ...], Mapping[str, Any]]],
            media: str, experts: str) -> Dataset:
  """Videos with their captions in `extra`, and where their file is as 'video', if it is anywhere.

  Captions without a word are left out, and so are videos that have no others; `notes` count both.

  Args:
    name: of the reader.
    root: of the data set.
    split: of it.
    found: (video, captions, further fields of `extra`); 'span', seconds in the video, is that of the record, and
      'media', a name, stands for that of the video where files are of a longer one, 'features' where features are.
    media: "experts", features below `experts`, or "video", files anywhere below the root.
    experts: folder of features, see vidx/data/experts.py.

  Raises:
    ConfigError: other media.
  """
  errors.check_choice("data.dataset.media", media, MEDIA)
  stores = experts_lib.Stores(root, experts) if media == "experts" else None
  videos = places.by_stem(root)
  records, missing, empty, bare = [], [], 0, []
  for video, said, further in found:
    captions = [text for text in said if text.strip()]
    empty += len(said) - len(captions)
    if said and not captions:
      bare.append(video)
      continue
    extra = {"captions": tuple(captions), **further}
    span, file, store = extra.pop("span", None), extra.pop("media", video), extra.pop("features", video)
    if file in videos:
      extra["video"] = videos[file]
    if stores is not None:
      at = stores.find(store)
    else:
      at = Media(videos[file]) if file in videos else None
    if at is None:
      missing.append(video)
    else:
      records.append(Record(video, at, span=span, extra=extra))
  left = f", and {counted(len(bare), 'video')} without others ({media_files.listed(bare)})" if bare else ""
  notes = (f"split '{split}': left out {counted(empty, 'caption')} without a word{left}",) if empty else ()
  return Dataset(name, split, tuple(records), missing=tuple(missing), notes=notes)


def cleaned(text: str) -> str:
  """A sentence on one line."""
  return " ".join(text.split())
