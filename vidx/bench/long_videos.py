"""Claims about long videos: systems of temporal segmentation, trained on transcripts.

Videos follow the grammar of Toybox's kitchen, or labels of real ones. Features are
prototypes of the actions under noise, so that a run needs no videos; all are equally
long, so that it needs no padding either.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors, systems
from vidx.bench import claims
from vidx.bench.segmentation_speed import read_runs
from vidx.data.toybox import kitchen
from vidx.metrics import segments
from vidx.terminal import counted

TRAIN, TEST, BATCH = 200, 50, 8  # videos


@dataclasses.dataclass(frozen=True)
class World:
  """What videos look like.

  Attributes:
    frames: T of every video.
    size: D.
    noise: as the next two, of `kitchen.prototype_features`.
    drift: of what changes slowly.
    period: of the drift.
    runs: file with the labels of real videos (vidx.bench.segmentation_speed.read_runs), which are stretched to T
      frames; the last fifth of its lines are for test. Videos of Toybox's kitchen where it is ''.
  """

  frames: int = 256
  size: int = 32
  noise: float = 1.5
  drift: float = 1.0
  period: int = 64
  runs: str = ""


@functools.lru_cache(maxsize=2)
def stretched(path: str, frames: int) -> tuple[list[np.ndarray], int]:
  """(labels (T,) of each video of a file of runs, stretched to T frames, and how many classes they have).

  Raises:
    DataError: the file cannot be read, or holds fewer than five videos.
  """
  every = read_runs(path)
  if len(every) < 5:
    raise errors.DataError(f"{path} holds {counted(len(every), 'video')}: training and test need 5.")
  ids = {name: i for i, name in enumerate(sorted({c for runs in every for c, _ in runs}))}
  found = []
  for runs in every:
    ends = np.cumsum([n for _, n in runs])
    at = (np.arange(frames) + 0.5) * ends[-1] / frames
    found.append(np.asarray([ids[c] for c, _ in runs], np.int32)[np.searchsorted(ends, at, "right")])
  return found, len(ids)


def classes(world: World) -> int:
  """How many there are."""
  return stretched(world.runs, world.frames)[1] if world.runs else len(kitchen.CLASSES)


@functools.lru_cache(maxsize=4)
def videos(world: World, split: str) -> dict[str, np.ndarray]:
  """{'features' (N, T, D), 'frame_label' (N, T), 'transcript' (N, M), 'label' (N, C)} of 'train' or 'test'."""
  if world.runs:
    every, _ = stretched(world.runs, world.frames)
    first = len(every) - len(every) // 5
    real = every[:first] if split == "train" else every[first:]
    count, longest = len(real), max(len(segments.segments(labels).classes) for labels in every)
  else:
    count, longest = TRAIN if split == "train" else TEST, kitchen.LONGEST
  found = {"features": [], "frame_label": [], "transcript": np.full((count, longest), -1, np.int32),
           "label": np.zeros((count, classes(world)), np.float32)}
  for i in range(count):
    rng = np.random.default_rng((i, split == "train"))
    labels = real[i] if world.runs else kitchen.frame_labels(
        kitchen.runs(i, world.frames, rng, exact=True)).astype(np.int32)
    found["features"].append(kitchen.prototype_features(labels, rng, world.size, world.noise, world.drift,
                                                        world.period, classes(world)))
    found["frame_label"].append(labels)
    order = segments.segments(labels).classes
    found["transcript"][i, :len(order)] = order
    found["label"][i, labels] = 1
  return {k: np.stack(v) for k, v in found.items()}


@functools.lru_cache(maxsize=8)
def batches(world: World, share: float = 0.0) -> claims.Batches:
  """Batches of training videos, of which a share may be learned from with the labels of their frames."""
  arrays = {k: jnp.asarray(v) for k, v in videos(world, "train").items()}
  count = len(arrays["label"])
  arrays["full"] = (jnp.arange(count) < round(count * share)).astype(jnp.float32)

  def draw(key):
    chosen = jax.random.randint(key, (BATCH,), 0, count)
    return {k: v[chosen] for k, v in arrays.items()}, jnp.zeros(())

  return draw


class Learner(nn.Module):
  """A system, called with the entries of a batch that it takes."""

  system: nn.Module

  @nn.compact
  def __call__(self, x, train=False):
    return self.system(*(x.get(k) for k in self.system.inputs), train=train)


def total(out, label):
  """The mean over the videos of the sum of a system's losses."""
  del label
  return sum(v.mean() for v in out["losses"].values())


def measure(system: Any, world: World, steps: int, seed: int, rate: float = 5e-3, share: float = 0.0,
            momentum: float | None = None) -> dict[str, Mapping[str, float]]:
  """Measures of a system's read-outs, in percent, on videos that it was not trained on.

  Args:
    system: of vidx.systems, with the `losses` and `predictions` of a segmentation.
    world: of the videos.
    steps: of training, on 8 videos each.
    seed: of initialisation, dropout and the order of the videos.
    rate: the highest learning rate.
    share: of the training videos whose frame labels may be used.
    momentum: of SGD, which takes the place of AdamW where it is given.

  Returns:
    By read-out, what `segments.evaluate` gives.
  """
  trained = claims.fit(Learner(system), batches(world, share), steps, seed, rate, total, momentum=momentum)
  own = {k: v["system"] for k, v in trained.items() if "system" in v}
  predict = jax.jit(lambda variables, x: system.apply(variables, x)["predictions"])
  test = videos(world, "test")
  found = [predict(own, x) for x in np.array_split(test["features"], 5)]
  return {name: segments.evaluate(list(np.concatenate([f[name] for f in found])), list(test["frame_label"]))
          for name in found[0]}


def taught_by(labelling: str, supervision: str, world: World, steps: int, seed: int, measured: str = "mof") -> float:
  """A measure, in percent, of the best read-out of a network that learns labels of frames made without a method for it.

  Args:
    labelling: 'uniform_split' or 'length_dp', names of systems.
    supervision: 'transcript' or 'set'.
    world, steps, seed: of `measure`.
    measured: a key of what `measure` gives of a read-out.
  """
  return max(of_one[measured] for of_one in _taught(labelling, supervision, world, steps, seed).values())


@functools.lru_cache(maxsize=8)
def _taught(labelling: str, supervision: str, world: World, steps: int, seed: int) -> dict[str, Mapping[str, float]]:
  """What `measure` gives of it, trained once for all measures."""
  system = systems.create_model(labelling, num_classes=classes(world), supervision=supervision, layers=7, width=32,
                                max_length=world.frames)
  return measure(system, world, steps, seed)


def most_frequent(world: World) -> float:
  """Percent of the frames for test that the most frequent action of training has."""
  best = np.bincount(videos(world, "train")["frame_label"].ravel()).argmax()
  return 100 * float((videos(world, "test")["frame_label"] == best).mean())
