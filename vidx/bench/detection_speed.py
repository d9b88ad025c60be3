"""What a memory costs a detector of frames: STMN beside R-FCN on the same frames, and MatchTrans' part of it.

Both score the same boxes in the same frames, in turns in one process, with random weights.
MatchTrans is measured by itself on maps of the size that STMN has, for both directions.
"""

from collections.abc import Callable, Mapping
import json as json_lib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors, systems
from vidx.bench import model_speed
from vidx.measure.clock import device_name, in_turns, versions
from vidx.measure.count import count
from vidx.nn.match_transform import match_weights, take_over
from vidx.terminal import counted

SIZE = 337, 600  # of frames of 16:9, as the thesis has them
SIDES = ("rfcn", "stmn")


def bench_detection(frames: int = 3, size: tuple[int, int] = SIZE, boxes: int = 300, train: bool = False,
                    seconds: float = 10.0, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
  """Measures both detectors, and MatchTrans.

  Args:
    frames: of a clip.
    size: their height and width in pixels.
    boxes: of a frame.
    train: forward and backward pass; otherwise the forward pass.
    seconds: about how long the slowest side is measured; at least three times.
    fields: of both models.

  Returns:
    'frames', 'size', 'boxes', 'train'; of each of SIDES {'seconds' of the clip, 'frames_per_s', 'gmacs' of a frame,
    'bytes' that the program needs at once}; 'ratio', frames per second of STMN over those of R-FCN; 'match':
    {'seconds', 'gmacs' of a frame, 'share' of STMN's time}; 'device' and 'versions'.

  Raises:
    ConfigError: numbers below 1, of frames below 2.
  """
  if frames < 2 or min(*size, boxes) < 1:
    raise errors.ConfigError(f"frames={frames} is 2 or more, sides={size} and boxes={boxes} are 1 or more.")
  rng = np.random.default_rng(0)
  corner, sides = rng.uniform(0, 0.6, (1, frames, boxes, 2)), rng.uniform(0.1, 0.4, (1, frames, boxes, 2))
  rois = np.concatenate([corner, corner + sides], -1) * np.tile(size[::-1], 2)
  xs = [rng.normal(size=(1, frames, *size, 3)).astype(np.float32), rois.astype(np.float32)]
  models = [systems.create_model(name, **(fields or {})) for name in SIDES]
  passes = [model_speed.one_pass(model, xs, train) for model in models]
  shape, channels = _map(models[1], xs)
  times = in_turns([run for run, _ in passes] + [_match(shape, channels, models[1].swap.forward.reach, train)], seconds)
  one = [jax.ShapeDtypeStruct((1, 1, *x.shape[2:]), x.dtype) for x in xs]
  found = {name: {"seconds": t, "frames_per_s": frames / t, "gmacs": count(model, *one).macs / 1e9, "bytes": room}
           for name, model, t, (_, room) in zip(SIDES, models, times, passes)}
  window = (2 * models[1].swap.forward.reach + 1)**2
  products = 2 * window * shape[1] * shape[2] * (shape[3] + channels) / 1e9
  return {"frames": frames, "size": list(size), "boxes": boxes, "train": train, **found,
          "ratio": times[0] / times[1],
          "match": {"seconds": times[2], "gmacs": products, "share": times[2] / times[1]},
          "device": device_name(), "versions": versions()}


def _map(model: Any, xs: list[np.ndarray]) -> tuple[tuple[int, int, int, int], int]:
  """The shape (T, h, w, D) of the features of a clip, and the channels of the memory of a direction."""
  variables = jax.eval_shape(lambda *x: model.init(jax.random.PRNGKey(0), *x), *xs)
  shape = jax.eval_shape(lambda v, x: model.apply(v, x, method="features"), variables, xs[0]).shape
  return shape[1:], model.swap.forward.channels


def _match(shape: tuple[int, ...], channels: int, reach: int, train: bool) -> Callable[[], None]:
  """MatchTrans of a clip in both directions as a function; in training with the gradient of the memory."""
  rng = np.random.default_rng(0)
  x, memory = (jnp.asarray(rng.normal(size=(*shape[:3], c)), jnp.float32) for c in (shape[3], channels))

  def moved(x, memory):
    ahead = take_over(memory, match_weights(x[1:], x[:-1], reach=reach)[jnp.r_[0, :len(x) - 1]])
    back = take_over(memory, match_weights(x[:-1], x[1:], reach=reach)[jnp.r_[0, :len(x) - 1]])
    return ahead + back

  run = jax.jit(jax.grad(lambda m, x: jnp.square(moved(x, m)).sum()) if train else lambda m, x: moved(x, m))
  return lambda: run(memory, x).block_until_ready()


def to_text(r: Mapping[str, Any]) -> str:
  """The measurement for reading."""
  what = "forward + backward" if r["train"] else "forward"
  lines = [f"{what}, {counted(r['frames'], 'frame')} of {r['size'][0]}x{r['size'][1]},"
           f" {counted(r['boxes'], 'box')} each, {r['device']}"]
  for name in SIDES:
    own = r[name]
    lines.append(f"  {name:10} {1e3 * own['seconds']:10.1f} ms  {own['frames_per_s']:9.3f} frames/s "
                 f" {own['gmacs']:8.2f} GMACs a frame" + (f"  {own['bytes'] / 2**20:,.0f} MiB" if own["bytes"] else ""))
  match = r["match"]
  return "\n".join(lines + [
      f"  stmn gives {r['ratio']:.2f} of the frames/s of rfcn; {r['rfcn']['gmacs'] / r['stmn']['gmacs']:.2f} by counts",
      f"  MatchTrans {1e3 * match['seconds']:10.1f} ms, {100 * match['share']:.1f} % of stmn,"
      f" {match['gmacs']:.3f} GMACs a frame"])


def main(*, json: bool = False, **options: Any) -> None:
  """Prints the measurement as text or JSON; see `bench_detection` for the options."""
  r = bench_detection(**options)
  print(json_lib.dumps(r) if json else to_text(r))
