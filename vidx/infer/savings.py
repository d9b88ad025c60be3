"""What a model with samplers saves: counted, and on the clock beside the same model without them."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import fnmatch
from typing import Any

from flax import linen as nn
import jax
import numpy as np

from vidx.infer.adaptive import Adaptive
from vidx.measure.count import count
from vidx.measure.clock import in_turns


@dataclasses.dataclass(frozen=True)
class Savings:
  """A model beside itself without samplers, on some clips.

  Attributes:
    dense_seconds: for all of them, without samplers.
    adaptive_seconds: with them, sampling and regrouping included.
    dense_macs: of one clip, without samplers.
    macs: (N,) of each clip, from its live counts.
    counts: {site: (N,)}, entries that a sampler left live.
    others: seconds of what else took turns with them.
  """

  dense_seconds: float
  adaptive_seconds: float
  dense_macs: int
  macs: np.ndarray
  counts: Mapping[str, np.ndarray]
  others: Sequence[float] = ()

  @property
  def counted_saving(self) -> float:
    """Share of the multiply-accumulates that is saved."""
    return 1 - float(self.macs.mean()) / self.dense_macs

  @property
  def realised_share(self) -> float:
    """Share of the time that is saved over share of the multiply-accumulates that is saved."""
    return (1 - self.adaptive_seconds / self.dense_seconds) / self.counted_saving

  def to_json(self) -> dict[str, Any]:
    """Figures without arrays: of `counts` [live entries, clips] pairs, of `gmacs` deciles."""
    clips, deciles = len(self.macs), np.linspace(0, 1, 11)
    return {"clips": clips, "dense_seconds": self.dense_seconds, "adaptive_seconds": self.adaptive_seconds,
            "dense_clips_per_s": clips / self.dense_seconds, "adaptive_clips_per_s": clips / self.adaptive_seconds,
            "dense_gmacs": self.dense_macs / 1e9, "gmacs": float(self.macs.mean()) / 1e9,
            "gmacs_deciles": [float(q) / 1e9 for q in np.quantile(self.macs, deciles)],
            "mean_counts": {site: float(n.mean()) for site, n in self.counts.items()},
            "counts": {site: np.stack(np.unique(n, return_counts=True), -1).tolist()
                       for site, n in self.counts.items()},
            "counted_saving": self.counted_saving, "realised_share": self.realised_share}

  def lines(self) -> list[str]:
    """For people."""
    counts = ", ".join(f"{site} {n.mean():.1f} ({n.min()} to {n.max()})" for site, n in self.counts.items())
    return [
        f"without samplers  {self.dense_macs / 1e9:8.3f} GMACs  {len(self.macs) / self.dense_seconds:9.2f} clips/s",
        f"with samplers     {self.macs.mean() / 1e9:8.3f} GMACs  {len(self.macs) / self.adaptive_seconds:9.2f} clips/s",
        f"saved: {100 * self.counted_saving:.1f} % of the multiply-accumulates,"
        f" {100 * (1 - self.adaptive_seconds / self.dense_seconds):.1f} % of the time",
        f"left live on average: {counts}",
    ]


def without_samplers(model: nn.Module, places: Sequence[str]) -> nn.Module:
  """The trunk with nothing at the sites where entries are dropped; it takes the same variables."""
  kept = {pattern: blocks for pattern, blocks in model.sites.items() if not fnmatch.filter(places, pattern)}
  return model.clone(sites=kept)


def of_split(loaded, dataset, batch_size: int, most: int = 64) -> Savings | None:
  """What a trained run saves on videos of a split, one view of each; None where its model has no samplers.

  Args:
    loaded: see vidx.infer.load.
    dataset: the split.
    batch_size: videos at once.
    most: at most so many videos are taken, evenly over the split.
  """
  model, data = loaded.model, loaded.config.data
  if tuple(model.inputs) != ("video",) or not (getattr(model, "sites", None) and hasattr(model, "pieces")):
    return None
  from vidx.data import batch as batch_lib, clips, pipeline  # here: speed is measured with jax and flax alone
  from vidx.nn import augment
  shape = clips.eval_clip_shape(data)
  key = batch_lib.clip_key(shape)
  prepare = lambda video: augment.on_device({key: video}, data.mean, data.std, loaded.dtype)[key]
  runner = Adaptive(model, loaded.variables, prepare=prepare)
  some = dataclasses.replace(dataset, records=dataset.records[::-(-len(dataset) // most)])
  size = min(batch_size, len(some))
  if not runner.places(jax.ShapeDtypeStruct((size, *shape), np.uint8)):  # before any video is decoded
    return None
  batches = pipeline.eval_batches(some, data, batch_size=size)
  try:
    videos = [batch[key][:, 0][np.asarray(batch["weight"]) > 0] for batch in batches]
  finally:
    batches.close()
  videos = [video for video in videos if video.shape == videos[0].shape]  # one program each
  if not len(videos[0]):
    return None
  return measure(runner, videos, prepare=prepare)


def measure(runner: Adaptive, batches: Sequence[jax.Array], *, seconds: float = 0,
            prepare: Callable[[jax.Array], jax.Array] = lambda video: video,
            others: Sequence[Callable[[], Any]] = ()) -> Savings:
  """Measures a runner against the dense model, in turns, after calibrating it.

  Args:
    runner: with samplers.
    batches: videos or images (B, ..., 3), as often gone through as the time allows, at least three times.
    seconds: about how long the slower side is measured.
    prepare: what the runner does with batches, too.
    others: what takes turns with both.
  """
  runner.calibrate(batches)
  _, counts = runner.run(batches)
  plain = without_samplers(runner.model, runner.macs.places)
  forward = jax.jit(lambda variables, video: plain.apply(variables, prepare(video)))
  dense = lambda: [jax.block_until_ready(forward(runner.variables, video)) for video in batches]
  adaptive = lambda: runner.run(batches)
  dense_seconds, adaptive_seconds, *rest = in_turns([dense, adaptive, *others], seconds)
  return Savings(dense_seconds, adaptive_seconds, count(plain, runner.example).macs,
                 runner.macs(counts), counts, rest)
