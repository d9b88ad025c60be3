"""Judges of generated images: networks that were trained elsewhere, for LPIPS, FID and the scores of identity and pose.

LPIPS and FID are the metrics of these names with certain weights only: what was
converted says the SHA-256 of its file, and another one is refused. Scores of identity
and pose are by runs of one's own, which the result names.
"""

from collections.abc import Callable, Mapping, Sequence
import json
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors, reading
from vidx.infer import batched, load
from vidx.interop import convert, files
from vidx.metrics import generation
from vidx.nn import augment, sites
from vidx.nn.resize import resize

BATCH = 32
_FID_SIDE = 299
_FID_PIXELS = ((0.5,) * 3, (0.5,) * 3)  # mean and std: its network takes -1..1
_SCORES = {"identity": "identity", "pose": "pose"}  # judge -> which image gave what is judged
JUDGES = ("lpips", "fid", *_SCORES)


class Judges:
  """Scores of images by named networks.

  Attributes:
    names: {metric: which network gives it}.
  """

  def __init__(self, text: str):
    """
    Args:
      text: 'JUDGE=PLACE,...': fid=FOLDER, of Inception-V3 with the weights of pytorch-fid; lpips=FOLDER:FILE, of
        torchvision's AlexNet, and the published file of its heads; identity=RUN, of `image_embedding`; pose=RUN, of
        a classifier of poses. Folders are as `vidx convert` writes them.

    Raises:
      ConfigError: unknown judges, or weights that are not those of the metric.
      CheckpointError: there is no such run.
    """
    self.names: dict[str, str] = {}
    self._score: dict[str, Callable[[Mapping[str, np.ndarray]], float]] = {}
    wanted = [entry.partition("=")[::2] for entry in filter(None, text.split(","))]
    for judge, place in wanted:  # all of them before the first is loaded
      errors.check_choice("--judges:", judge, JUDGES)
      if not place:
        raise errors.ConfigError(f"--judges={judge}: write where the network is, {judge}=FOLDER.")
      if judge in _SCORES and not os.path.isfile(os.path.join(place, "config.json")):
        raise reading.no_run(f"--judges={judge}={place}: {place}")
    for judge, place in wanted:
      make = {"lpips": self._lpips, "fid": self._fid}.get(judge, self._affinity)
      make(judge, place)

  def check(self, task: Any) -> None:
    """Raises ConfigError where a run makes no images."""
    if getattr(task, "best_metric", "") != "psnr":
      raise errors.ConfigError("--judges look at images, and this run makes none: its task is not 'generation'.")

  def __call__(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """{metric: score} of 'image', 'identity', 'pose' and 'target', uint8 (N, H, W, 3)."""
    return {name: score(predictions) for name, score in self._score.items()}

  def _fid(self, judge, place):
    weights = generation.known("fid", _digest(place))
    generation.named("fid", weights)
    of = _features(_loaded(place), _FID_SIDE, *_FID_PIXELS)
    self.names["fid"] = weights
    self._score["fid"] = lambda p: generation.fid(of(p["image"]), of(p["target"]), weights)

  def _lpips(self, judge, place):
    folder, colon, heads = place.rpartition(":")
    if not (colon and os.path.isfile(heads)):
      raise errors.ConfigError(f"--judges=lpips={place}: write FOLDER:FILE, AlexNet and the published file of the"
                               " heads, alex.pth of version 0.1.")
    weights = generation.known("lpips", _digest(folder), reading.sha256(heads))
    generation.named("lpips", weights)
    loaded, state = _loaded(folder), files.read_state(heads)
    heads = [np.asarray(state[f"lin{i}.model.1.weight"]).reshape(-1) for i in range(len(generation.LPIPS_SITES))]
    mean, std = (jnp.asarray(v, jnp.float32) for v in (generation.LPIPS_MEAN, generation.LPIPS_STD))

    @jax.jit
    def taps(variables, images):
      x = (images.astype(jnp.float32) / 127.5 - 1 - mean) / std
      with jax.default_matmul_precision("highest"):
        found = sites.taps(loaded.model, variables, x[:, None], sites=generation.LPIPS_SITES, train=False)[1]
      return [found[site][:, 0].astype(jnp.float32) for site in generation.LPIPS_SITES]

    def each(image, target):
      return generation.lpips(*(taps(loaded.variables, x) for x in (image, target)), heads, weights)

    score = lambda p: float(batched.mapped(each, BATCH, p["image"], p["target"]).mean())

    self.names["lpips"], self._score["lpips"] = weights, score

  def _affinity(self, judge, place):
    loaded = _loaded(place)
    if tuple(loaded.model.inputs) != ("video",):
      raise errors.ConfigError(f"--judges={judge}={place}: '{loaded.config.system.name}' takes no images alone.")
    data = loaded.config.data
    name, of = f"{judge} score", _features(loaded, data.crop, data.mean, data.std)
    self.names[name] = f"{loaded.config.system.name} of {place}, step {loaded.step}"
    self._score[name] = lambda p: float(generation.affinity(of(p["image"]), of(p[_SCORES[judge]])).mean())


def _digest(folder: str) -> str:
  """The SHA-256 of the file that a folder was converted from; '' where it does not say."""
  try:
    with reading.open_text(os.path.join(folder, convert.RECORD)) as f:
      return str(json.load(f).get("sha256", ""))
  except (OSError, ValueError, AttributeError):
    return ""


def _loaded(place: str) -> load.Loaded:
  """A run that computes in fp32 on every device: what it judges should not depend on where."""
  return load.load_checkpoint(place, overrides=["train.precision=float32"])


def _features(loaded: load.Loaded, side: int, mean: Sequence[float], std: Sequence[float]
              ) -> Callable[[np.ndarray], np.ndarray]:
  """uint8 (N, H, W, 3) -> float32 (N, D), the `features` of a run for images of a side, with so normalised pixels."""

  @jax.jit
  def forward(variables, images):
    x = resize(augment.normalize(images[:, None], mean, std), (1, side, side))
    with jax.default_matmul_precision("highest"):
      out = loaded.model.apply(variables, x, train=False)["features"]
    return out.astype(jnp.float32).reshape(len(images), -1)

  return lambda images: batched.mapped(lambda some: forward(loaded.variables, some), BATCH, images)
