"""The parts of sound: the log-mel spectrogram of the time that a clip shows, and one of another time of the same video.

A clip of 64 frames at 30 per second lasts 2.13 s and has 132 windows, of which
`data.audio.rows` are picked. Sound that ends before the clip does is silence there.
A video without sound, or whose sound is damaged inside the clip, is masked: zeros, and
`audio_valid` 0 or -1.
"""

from collections.abc import Mapping
import functools
from typing import Any

from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import clips as clips_lib
from vidx.data import parts as parts_lib
from vidx.data import media_files, sound, spectrogram
from vidx.data.records import Dataset, Media
from vidx.nn.log_mel import FLOOR, pick_rows

VALID, ABSENT, DAMAGED = 1.0, 0.0, -1.0
_RANGES = {"rows": errors.Range(1), "mels": errors.Range(1), "std": errors.Range(0, above=True),
           **dict.fromkeys(("seconds", "gap", "masks", "mask_rows", "mask_mels"), errors.Range(0))}


def source(media: Media) -> str | bytes:
  """What `sound.read` opens for a record's media.

  Raises:
    NoSound: images have none.
  """
  if media.kind == "frames":
    raise sound.NoSound(f"{media.path}: frames have no sound.")
  if media.kind != "array_record":
    return media.path
  from vidx.data.datasets import array_record
  kind, parts = array_record.read_media(media)
  if kind == "frames":
    raise sound.NoSound(f"{media.path}: frames have no sound.")
  return parts[0]


def masked(x: np.ndarray, rows: int, bands: int, count: int, rng: np.random.Generator) -> np.ndarray:
  """SpecAugment: `count` runs of up to `rows` rows and of up to `bands` bands become 0.

  Park et al.: "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition", 2019, without warping.

  Args:
    x: (T, F, 1).
    rows: most rows of a run; 0: none.
    bands: most bands of a run; 0: none.
    count: runs of either kind.
    rng: draws width and place.
  """
  x = x.copy()
  for _ in range(count):
    for axis, most in ((0, rows), (1, bands)):
      width = int(rng.integers(min(most, x.shape[axis]) + 1))
      first = int(rng.integers(x.shape[axis] - width + 1))
      x[(slice(None),) * axis + (slice(first, first + width),)] = 0
  return x


def span_of(seconds: np.ndarray, fixed: float = 0.0, step: float = 0.0) -> tuple[float, float]:
  """(start, end) of the time that frames (T,) show, the last one as long as they do on average, or `step` seconds where
  all are one; or of `fixed` seconds around their middle."""
  start, end = clips_lib.extent(seconds)
  # Some are shown again where a video is short, and in the shortest one its first frame alone.
  end += (end - start) / max(len(np.unique(seconds)) - 1, 1) or step
  middle = (start + end) / 2
  return (middle - fixed / 2, middle + fixed / 2) if fixed else (start, end)


def displaced(span: tuple[float, float], whole: tuple[float, float], gap: float, rng: np.random.Generator | None
              ) -> tuple[float, float] | None:
  """A span of the same length that begins at least `gap` seconds before or after, inside the whole; None: no room.

  Without rng the one as far away as there is.
  """
  start, length = span[0], span[1] - span[0]
  before, after = max(0.0, start - gap - whole[0]), max(0.0, whole[1] - length - start - gap)
  if before + after <= 0:
    return None
  if rng is None:
    at = whole[0] if before >= after else whole[1] - length
  else:
    drawn = float(rng.uniform(0, before + after))
    at = whole[0] + drawn if drawn < before else start + gap + drawn - before
  return at, at + length


class _Spectrograms:
  """What both parts share: spectrograms of spans of a record's sound, one per temporal clip."""

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    """
    Raises:
      ConfigError: values of `data.audio` that make no sense.
    """
    del seed, timed
    a = data.audio
    errors.check_ranges(a, _RANGES, "data.audio.")
    self._dataset, self._training, self._audio, self._crops = dataset, training, a, crops
    self._views = () if training else (clips * crops,)
    self._silence = np.full((a.rows, a.mels, 1), (np.log(FLOOR) - a.mean) / a.std, np.float32)

  def _read(self, index: int, cut: clips_lib.Cut, span: tuple[float, float]) -> np.ndarray:
    """fp32 (rows, mels, 1), normalised; raises as `sound.read`."""
    a, record = self._audio, self._dataset.records[index]
    media, origin = record.media, cut.origin
    if "audio" in record.companions:
      media, origin = record.companions["audio"], None
    waveform = sound.read(source(media), *span, origin)
    return ((pick_rows(spectrogram.log_mel(waveform, a.mels), a.rows) - a.mean) / a.std)[..., None]

  def _of_views(self, clips: list[Any]) -> np.ndarray:
    """One array of a training example, or those of all views: a temporal clip's for each of its crops."""
    if self._training:
      return np.asarray(clips[0], np.float32)
    return np.repeat(np.asarray(clips, np.float32), self._crops, 0)

  @staticmethod
  def _shape(data: ConfigDict) -> tuple[Any, Any]:
    return (data.audio.rows, data.audio.mels, 1), np.float32


class Audio(_Spectrograms):
  """`audio` and `audio_valid`, which follow the frames of a clip."""

  keys = ("audio", "audio_valid")

  def __init__(self, dataset: Dataset, data: ConfigDict, *args: Any, **kwargs: Any):
    super().__init__(dataset, data, *args, **kwargs)
    if data.frames * data.consecutive == 1 and not data.audio.seconds:
      raise errors.ConfigError("data.audio.seconds=0 is the time of a clip, and one of a single frame has none:"
                               " set it.")

  def make(self, index: int, cut: clips_lib.Cut, rng: np.random.Generator | None, room: int
           ) -> tuple[batch_lib.Batch, None]:
    """The sound of each clip of a record, or zeros and why."""
    del room
    found, valid = [], []
    for seconds in cut.seconds:
      x, how = self._heard(index, cut, span_of(seconds, self._audio.seconds, cut.step))
      a = self._audio
      if rng is not None and how == VALID and a.masks and a.mask_rows + a.mask_mels:
        x = masked(x, a.mask_rows, a.mask_mels, a.masks, rng)
      found.append(x)
      valid.append(how)
    return {"audio": self._of_views(found), "audio_valid": self._of_views(valid)}, None

  def _heard(self, index, cut, span):
    try:
      return self._read(index, cut, span), VALID
    except sound.NoSound:
      return np.zeros_like(self._silence), ABSENT
    except errors.DecodeError:
      return np.zeros_like(self._silence), DAMAGED

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """No sound."""
    del index, room
    return {"audio": np.zeros((*self._views, *self._silence.shape), np.float32),
            "audio_valid": np.zeros(self._views, np.float32)}

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """Those of a clip."""
    del num_classes
    return {"audio": cls._shape(data), "audio_valid": ((), np.float32)}


class Displaced(_Spectrograms):
  """`audio_neg`: the sound of another time of the same video, at least `data.audio.gap` seconds away.

  Where the video has no such time, it is that of the clip, from its middle on round and round.
  """

  keys = ("audio_neg",)

  def make(self, index: int, cut: clips_lib.Cut, rng: np.random.Generator | None, room: int
           ) -> tuple[batch_lib.Batch, None]:
    """A displaced spectrogram per clip; zeros where the sound cannot be decoded, silence where it has ended."""
    del room
    return {"audio_neg": self._of_views([self._away(index, cut, seconds, rng) for seconds in cut.seconds])}, None

  def _away(self, index, cut, seconds, rng):
    span = span_of(seconds, self._audio.seconds, cut.step)
    other = displaced(span, cut.span, self._audio.gap, rng)
    try:
      if other is not None:
        return self._read(index, cut, other)
      return np.roll(self._read(index, cut, span), self._audio.rows // 2, 0)
    except sound.NoSound:
      return self._silence
    except errors.DecodeError:
      return np.zeros_like(self._silence)

  def blank(self, index: int, room: int) -> batch_lib.Batch:
    """No sound."""
    del index, room
    return {"audio_neg": np.zeros((*self._views, *self._silence.shape), np.float32)}

  @classmethod
  def shapes(cls, data: ConfigDict, num_classes: int | Mapping[str, int]) -> dict[str, tuple[Any, Any]]:
    """That of a clip."""
    del num_classes
    return {"audio_neg": cls._shape(data)}


def _start(media: Media) -> float | None:
  """When the first frame of a video is shown by the file's own clock, which is second 0 of the span of a record; None
  where there are no pictures: its seconds count from where the sound begins."""
  if media.kind == "sound":
    return None
  found = media_files.status(media.path)
  try:
    return _first_shown(media, found and (found.st_size, found.st_mtime_ns))
  except errors.DecodeError:
    return None


@functools.lru_cache(maxsize=4096)
def _first_shown(media: Media, stamp: tuple[int, int] | None) -> float | None:
  del stamp  # another file under the name is opened anew
  with clips_lib.open_media(media) as video:
    return getattr(video, "start", None)


class Sound(Audio, parts_lib.OneShape):
  """`audio` and `audio_valid` of records whose sound alone is wanted: clips of `data.audio.seconds`.

  In training anywhere in the sound; in evaluation evenly from its start to its end, a
  single one in its middle. Videos without sound are masked; a file of sound that
  cannot be decoded is left out, as such a video is.
  """

  def __init__(self, dataset: Dataset, data: ConfigDict, training: bool, clips: int, crops: int, seed: int,
               timed: bool = False):
    self._clips = 1 if training else max(clips, 1)
    _Spectrograms.__init__(self, dataset, data, training, self._clips, crops, seed)
    if not data.audio.seconds:
      raise errors.ConfigError("data.audio.seconds is 0: set how many seconds of sound an example has, for no frames"
                               " say it.")

  @property
  def size(self) -> int:
    """Bytes of an example."""
    return 4 * self._silence.size * int(np.prod(self._views, dtype=int))

  def make(self, index: int, cut: None, rng: np.random.Generator | None, room: int
           ) -> tuple[batch_lib.Batch, clips_lib.Cut]:
    """A random span of a record's sound, or those of all views.

    Raises:
      DecodeError: it is a file of sound, and has none.
    """
    record, length = self._dataset.records[index], self._audio.seconds
    media = record.companions.get("audio", record.media)
    try:
      whole = record.span or (0.0, sound.duration(source(media)))
    except sound.NoSound:
      if media.kind == "sound":
        raise
      whole = (0.0, length)
    left = max(0.0, whole[1] - whole[0] - length)
    share = rng.uniform(size=1) if rng is not None else (
        np.linspace(0, 1, self._clips) if self._clips > 1 else np.array([0.5]))
    middle = whole[0] + left * share + length / 2
    seconds = np.stack([middle, middle], 1)
    cut = clips_lib.Cut(np.zeros(0, np.uint8), np.zeros((len(middle), 0), np.int64), (), seconds, whole,
                        _start(media) if record.span and media is record.media else None)
    example, _ = super().make(index, cut, rng, room)
    if media.kind == "sound" and (example["audio_valid"] != VALID).any():
      self._read(index, cut, span_of(seconds[int(np.argmin(example["audio_valid"])) // self._crops], length))
    return example, cut
