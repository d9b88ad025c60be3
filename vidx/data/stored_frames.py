"""Frames that are kept as the bytes of images, as a built data set keeps a frame folder."""

from collections.abc import Sequence

from vidx.data import frame_folder

_ENDINGS = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"RIFF", ".webp"), (b"BM", ".bmp"))


class StoredFrames(frame_folder.FrameFolder):
  """Encoded images in order, with the interface of a folder of them."""

  def __init__(self, images: Sequence[bytes], name: str):
    """
    Args:
      images: encoded, each in a format of its own if need be.
      name: for messages.
    """
    self.name = name
    self.files = [f"{i:05d}{_ending(data)}" for i, data in enumerate(images)]
    self.num_frames = len(self.files)
    self._images = images

  def encoded(self, i: int) -> bytes:
    return self._images[i]


def _ending(data: bytes) -> str:
  return next((ending for start, ending in _ENDINGS if data.startswith(start)), ".jpg")
