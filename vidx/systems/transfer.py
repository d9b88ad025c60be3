"""Supervision transfer: a 3D CNN learns to tell whether frames, seen by a trained 2D CNN, and a clip belong together.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, section 4.3 and figure 4.2. Frames and clip of the same time of the same video
match; those of different videos do not. No label of a video is needed. The teacher is
given by `train.init_from` and stays as it is. What was learned is in `student`, and starts
a classifier: `train.init_from = ((".*", RUN, "student"),)`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import errors, systems
from vidx.nn import sites as sites_lib


def partners(index: jax.Array) -> tuple[jax.Array, jax.Array]:
  """For every example the nearest one before it, round and round, that is of another record.

  Args:
    index: (B,) int32, positions of the records; -1 for padding, which is nobody's partner.

  Returns:
    (B,) int32 positions in the batch, and (B,) bool, whether there is such an example.
    Where all records differ the partners are the batch rolled by one.
  """
  index = jnp.asarray(index)
  size = len(index)
  behind = (jnp.arange(size)[:, None] - 1 - jnp.arange(size)) % size  # (B, B): the one before, the one before that, ...
  fits = (index[behind] != index[:, None]) & (index[behind] >= 0)
  nearest = jnp.argmax(fits, 1)
  return jnp.take_along_axis(behind, nearest[:, None], 1)[:, 0], fits.any(1)


class SupervisionTransfer(nn.Module):
  """`teacher` sees the frames of a clip, `student` the clip; see `transfer` for the other fields."""

  teacher: nn.Module
  student: nn.Module
  width: int
  hidden: tuple[int, ...]
  fc0: int
  freeze_teacher_proj: bool
  independent_crop: int
  dtype: jnp.dtype | None

  inputs = ("video", "index")

  @property
  def held(self) -> tuple[str, ...]:
    """Patterns of the parameters that get no gradient."""
    return ("^teacher/", *(("^teacher_fc/",) if self.freeze_teacher_proj else ()))

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the teacher behind `teacher.`, then those of the student."""
    return self.teacher.site_names() + self.student.site_names()

  @nn.compact
  def __call__(self, video: jax.Array, index: jax.Array, train: bool = False) -> dict[str, jax.Array]:
    """Compares every clip with its own frames and with those of another video.

    Args:
      video: (B, T, H, W, 3), normalised.
      index: (B,) int32, position of the record of each example, -1 for padding.
      train: batch statistics of the student; the teacher keeps its own.

    Returns:
      fp32 {'match': (B, 2), the logits of clips with their own frames, 'mismatch': (B, 2), those of clips
      with frames of another video, 'paired': (B,), 1 where there is such a video, 'features': (B, C) of the
      student}; index 1 of the logits says that frames and clip belong together.
    """
    frames, clip = self._crops(video, train)
    own = jax.lax.stop_gradient(self.teacher(frames, train=False)["features"])  # the mean over frames
    dense = lambda width, name: nn.Dense(width, dtype=jnp.float32, kernel_init=nn.initializers.he_normal(), name=name)
    own = nn.relu(dense(self.width, "teacher_fc")(own))
    if self.freeze_teacher_proj:
      own = jax.lax.stop_gradient(own)
    seen = self.student(clip, train=train)["features"]
    of_clip = nn.relu(dense(self.width, "student_fc")(seen))
    partner, paired = partners(index)
    widths = ((self.fc0, "fc0"),) if self.fc0 else ()
    layers = [dense(width, name) for width, name in (*widths, *((w, f"fc{i + 1}") for i, w in enumerate(self.hidden)))]
    last = dense(2, "matches")

    def score(of_frames):
      x = jnp.concatenate([of_frames, of_clip], -1)
      for layer in layers:
        x = nn.relu(layer(x))
      return last(x)

    return {"match": score(own), "mismatch": score(own[partner]), "paired": paired.astype(jnp.float32),
            "features": seen}

  def _crops(self, video, train):
    """What teacher and student see of the clip: all of it, or a crop each."""
    size = self.independent_crop
    if not size:
      return video, video
    room = (video.shape[2] - size, video.shape[3] - size)
    if min(room) < 0:
      raise errors.ConfigError(f"independent_crop = {size} does not fit into clips of {video.shape[2]} x"
                               f" {video.shape[3]}: raise data.crop.")
    if not train:
      clip = video[:, :, room[0] // 2:room[0] // 2 + size, room[1] // 2:room[1] // 2 + size]
      return clip, clip
    cut = lambda x, y, z: jax.lax.dynamic_slice(x, (0, y, z, 0), (x.shape[0], size, size, x.shape[-1]))

    def crop(key):
      at = [jax.random.randint(k, (len(video),), 0, n + 1) for k, n in zip(jax.random.split(key), room)]
      return jax.vmap(cut)(video, *at)

    return crop(self.make_rng("dropout")), crop(self.make_rng("dropout"))


def transfer(teacher: str = "resnet_50", teacher_fields: Mapping[str, Any] | None = None, student: str = "stc",
             student_fields: Mapping[str, Any] | None = None, frames: int = 16, width: int = 1024,
             hidden: Sequence[int] = (512, 128), fc0: int = 0, freeze_teacher_proj: bool = False,
             independent_crop: int = 0, sites=None, dtype: Any = None) -> SupervisionTransfer:
  """The network of images and the network of clips with what compares them.

  Args:
    teacher: name of a trunk that sees single frames, I.
    teacher_fields: of it.
    student: name of a trunk or system of clips, V.
    student_fields: of it.
    frames: of a clip, where the student is made for one length.
    width: of the last layer of both, whose outputs are put one behind the other.
    hidden: widths of the layers that compare them, fc1 and fc2.
    fc0: width of one more layer in front of them, such as 2048; 0: none.
    freeze_teacher_proj: the last layer of the teacher, which no checkpoint has, stays as
      it was drawn.
    independent_crop: side of the crops that both see of the clip, each its own in
      training; 0: both see all of it.
    sites: blocks to plug in: the teacher's sites are those of its trunk behind `teacher.`.
    dtype: compute dtype of both; the layers that compare are fp32.

  Returns:
    A module (B, T, H, W, 3), (B,) -> {'match', 'mismatch', 'paired', 'features'}.
  """
  sites = sites_lib.merge(sites or {})

  def made(name, fields):
    return sites_lib.share(lambda sites: systems.create_model(name, num_classes=0, dtype=dtype, sites=sites, **fields),
                           sites)

  fields = dict(student_fields or {})
  if "frames" in systems.field_names(student, fields.get("trunk")):
    fields.setdefault("frames", frames)
  image = made(teacher, {"prefix": "teacher.", **(teacher_fields or {})})
  clip = made(student, fields)
  sites_lib.check(sites, image.site_names() + clip.site_names())
  return SupervisionTransfer(image, clip, width=width, hidden=tuple(hidden), fc0=fc0,
                             freeze_teacher_proj=freeze_teacher_proj, independent_crop=independent_crop, dtype=dtype)
