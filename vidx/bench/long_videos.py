"""Claims about long videos: systems of temporal segmentation, trained on transcripts of Toybox's kitchen.

Features are prototypes of the actions under noise, so that a run needs no files; all
videos are equally long, so that it needs no padding either.
"""

from collections.abc import Mapping
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx import systems
from vidx.bench import claims
from vidx.data.toybox import kitchen
from vidx.metrics import segments

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
  """

  frames: int = 256
  size: int = 32
  noise: float = 1.5
  drift: float = 1.0
  period: int = 64


@functools.lru_cache(maxsize=4)
def videos(world: World, split: str) -> dict[str, np.ndarray]:
  """{'features' (N, T, D), 'frame_label' (N, T), 'transcript' (N, M), 'label' (N, C)} of 'train' or 'test'."""
  count = TRAIN if split == "train" else TEST
  found = {"features": [], "frame_label": [], "transcript": np.full((count, kitchen.LONGEST), -1, np.int32),
           "label": np.zeros((count, len(kitchen.CLASSES)), np.float32)}
  for i in range(count):
    rng = np.random.default_rng((i, split == "train"))
    runs = kitchen.runs(i, world.frames, rng, exact=True)
    labels = kitchen.frame_labels(runs).astype(np.int32)
    found["features"].append(kitchen.prototype_features(labels, rng, world.size, world.noise, world.drift,
                                                        world.period))
    found["frame_label"].append(labels)
    found["transcript"][i, :len(runs)] = [c for c, _ in runs]
    found["label"][i, labels] = 1
  return {k: np.stack(v) for k, v in found.items()}


@functools.lru_cache(maxsize=8)
def batches(world: World, share: float = 0.0) -> claims.Batches:
  """Batches of training videos, of which a share may be learned from with the labels of their frames."""
  arrays = {k: jnp.asarray(v) for k, v in videos(world, "train").items()}
  arrays["full"] = (jnp.arange(TRAIN) < round(TRAIN * share)).astype(jnp.float32)

  def draw(key):
    chosen = jax.random.randint(key, (BATCH,), 0, TRAIN)
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


def measure(system: Any, world: World, steps: int, seed: int, rate: float = 5e-3, share: float = 0.0
            ) -> dict[str, Mapping[str, float]]:
  """Measures of a system's read-outs, in percent, on videos that it was not trained on.

  Args:
    system: of vidx.systems, with the `losses` and `predictions` of a segmentation.
    world: of the videos.
    steps: of training, on 8 videos each.
    seed: of initialisation, dropout and the order of the videos.
    rate: the highest learning rate.
    share: of the training videos whose frame labels may be used.

  Returns:
    By read-out, what `segments.evaluate` gives.
  """
  trained = claims.fit(Learner(system), batches(world, share), steps, seed, rate, total)
  own = {k: v["system"] for k, v in trained.items() if "system" in v}
  predict = jax.jit(lambda variables, x: system.apply(variables, x)["predictions"])
  test = videos(world, "test")
  found = [predict(own, x) for x in np.split(test["features"], 5)]
  return {name: segments.evaluate(list(np.concatenate([f[name] for f in found])), list(test["frame_label"]))
          for name in found[0]}


def taught_by(labelling: str, supervision: str, world: World, steps: int, seed: int) -> float:
  """Percent of frames that a network labels rightly, by its best read-out, of labels made without a method for it.

  Args:
    labelling: 'uniform_split' or 'length_dp', names of systems.
    supervision: 'transcript' or 'set'.
    world, steps, seed: of `measure`.
  """
  system = systems.create_model(labelling, num_classes=len(kitchen.CLASSES), supervision=supervision, layers=7, width=32,
                                max_length=world.frames)
  return max(of_one["mof"] for of_one in measure(system, world, steps, seed).values())


def most_frequent(world: World) -> float:
  """Percent of the frames for test that the most frequent action of training has."""
  best = np.bincount(videos(world, "train")["frame_label"].ravel()).argmax()
  return 100 * float((videos(world, "test")["frame_label"] == best).mean())
