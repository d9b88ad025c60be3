"""What the readers of captions share: where the features or files of their videos are."""

from collections.abc import Iterable, Mapping
from typing import Any

from vidx import errors
from vidx.data import experts as experts_lib
from vidx.data.datasets import places
from vidx.data.records import Dataset, Media, Record

MEDIA = ("experts", "video")


def dataset(name: str, root: str, split: str, found: Iterable[tuple[str, tuple[str, ...], Mapping[str, Any]]],
            media: str, experts: str) -> Dataset:
  """Videos with their captions in `extra`, and where their file is as 'video', if it is anywhere.

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
  records, missing = [], []
  for video, captions, further in found:
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
  return Dataset(name, split, tuple(records), missing=tuple(missing))


def cleaned(text: str) -> str:
  """A sentence on one line."""
  return " ".join(text.split())
