"""The lowerings of `vidx.nn.conv` side by side, layer by layer: what `choose` rests on."""

from collections.abc import Sequence
import dataclasses
import json as json_lib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.measure.clock import device_name, in_turns, once, versions
from vidx.nn import conv


@dataclasses.dataclass(frozen=True)
class Layer:
  """One convolution as a network has it; `kernel` and `strides` in time, height, width; zeros keep the size."""

  x: tuple[int, int, int, int, int]
  features: int
  kernel: tuple[int, int, int]
  strides: tuple[int, int, int] = (1, 1, 1)
  groups: int = 1


#: what it stands for -> layer.
LAYERS: dict[str, Layer] = {
    "image stem": Layer((1, 4, 224, 224, 3), 64, (1, 7, 7), (1, 2, 2)),
    "narrow stem": Layer((1, 8, 112, 112, 3), 24, (1, 7, 7), (1, 2, 2)),
    "X3D stem": Layer((1, 13, 160, 160, 3), 24, (1, 3, 3), (1, 2, 2)),
    "R3D stem": Layer((1, 8, 112, 112, 3), 64, (3, 7, 7), (1, 2, 2)),
    "I3D stem": Layer((1, 8, 112, 112, 3), 64, (5, 7, 7), (1, 2, 2)),
    "Fast stem": Layer((1, 8, 112, 112, 3), 8, (5, 7, 7), (1, 2, 2)),
    "band-pass": Layer((1, 8, 224, 224, 3), 3, (1, 9, 9), groups=3),
    "3x3, 56": Layer((1, 8, 56, 56, 64), 64, (1, 3, 3)),
    "3x3 / 2, 28": Layer((1, 8, 28, 28, 128), 256, (1, 3, 3), (1, 2, 2)),
    "3x3, 14": Layer((1, 8, 14, 14, 256), 256, (1, 3, 3)),
    "3x3, 7": Layer((1, 8, 7, 7, 512), 512, (1, 3, 3)),
    "1x1, 56": Layer((1, 8, 56, 56, 64), 256, (1, 1, 1)),
    "1x1 / 2, 28": Layer((1, 8, 28, 28, 512), 1024, (1, 1, 1), (1, 2, 2)),
    "1x1, 7": Layer((1, 8, 7, 7, 2048), 512, (1, 1, 1)),
    "3x3x3, 56": Layer((1, 8, 56, 56, 64), 64, (3, 3, 3)),
    "3x3x3 / 2, 28": Layer((1, 8, 28, 28, 128), 256, (3, 3, 3), (2, 2, 2)),
    "3x3x3, 14": Layer((1, 8, 14, 14, 256), 256, (3, 3, 3)),
    "3x3x3, 7": Layer((1, 4, 7, 7, 512), 512, (3, 3, 3)),
    "3x3x3, 2": Layer((1, 2, 2, 2, 512), 512, (3, 3, 3)),
    "3x1x1, 56": Layer((1, 32, 56, 56, 32), 8, (3, 1, 1)),
    "3x1x1, 28": Layer((1, 8, 28, 28, 512), 128, (3, 1, 1)),
    "3x1x1 / 2, 28": Layer((1, 8, 28, 28, 230), 128, (3, 1, 1), (2, 1, 1)),
    "7x1x1 / 4, 28": Layer((1, 32, 28, 28, 32), 64, (7, 1, 1), (4, 1, 1)),
    "depth-wise 3x3, 28": Layer((1, 8, 28, 28, 192), 192, (1, 3, 3), groups=192),
    "depth-wise 3x3 / 2, 28": Layer((1, 8, 28, 28, 192), 192, (1, 3, 3), (1, 2, 2), 192),
    "depth-wise 5x1x1, 80": Layer((1, 13, 80, 80, 24), 24, (5, 1, 1), groups=24),
    "depth-wise 3x3x3, 20": Layer((1, 13, 20, 20, 108), 108, (3, 3, 3), groups=108),
    "depth-wise 3x3x3 / 2, 20": Layer((1, 13, 20, 20, 216), 216, (3, 3, 3), (1, 2, 2), 216),
    "grouped 3x3x3, 14": Layer((1, 4, 14, 14, 256), 256, (3, 3, 3), groups=32),
}


def bench_layer(layer: Layer, train: bool = False, dtype: str = "float32", batch: int = 1, seconds: float = 0.3
                ) -> dict[str, float]:
  """Median seconds of every lowering that applies to a layer, in turns.

  What is over ten times slower than the quickest is timed once.

  Args:
    layer: the convolution.
    train: with the gradients of input and kernel.
    dtype: of both.
    batch: clips at once.
    seconds: how long the slowest is measured; each is taken three times at least.
  """
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(batch, *layer.x[1:])), dtype)
  w = jnp.asarray(rng.normal(size=(*layer.kernel, layer.x[-1] // layer.groups, layer.features)), dtype)
  padding = tuple(k // 2 for k in layer.kernel)

  def call(lowering):
    run = lambda x, w: conv.convolve(x, w, layer.strides, padding, groups=layer.groups, lowering=lowering)
    # A cotangent that varies, as in a network: XLA would fold one of equal numbers.
    step = (lambda x, w: jax.vjp(run, x, w)[1](run(x, w))) if train else run
    compiled = jax.jit(step).lower(x, w).compile()
    return lambda: jax.block_until_ready(compiled(x, w))

  fits = lambda name: conv.applies(name, x.shape, layer.kernel, layer.strides, (1, 1, 1), layer.groups)
  calls = {n: call(n) for n in conv.LOWERINGS if fits(n)}
  times = {n: once(c) for n, c in calls.items()}
  near = [n for n in calls if times[n] <= 10 * min(times.values())]
  return {**times, **dict(zip(near, in_turns([calls[n] for n in near], seconds)))}


def bench_conv(pattern: str = "", train: bool = False, dtype: str = "float32", batch: int = 1, seconds: float = 0.3
               ) -> list[dict[str, Any]]:
  """Measures all layers whose name contains `pattern`; see `bench_layer`.

  Returns:
    Rows with `layer`, `x`, `kernel`, `strides`, `groups`, `features`, `train`, `times` (seconds by lowering),
    `best` and `chosen` (names), and `loss` (time of the chosen one over the best).

  Raises:
    ConfigError: no layer has such a name.
  """
  layers = {n: layer for n, layer in LAYERS.items() if pattern in n}
  if not layers:
    raise errors.ConfigError(f"no layer is called '{pattern}'{errors.hint(pattern, LAYERS)};"
                             f" they are {', '.join(LAYERS)}.")
  rows = []
  for name, layer in layers.items():
    times = bench_layer(layer, train, dtype, batch, seconds)
    best = min(times, key=times.get)
    w = (*layer.kernel, layer.x[-1] // layer.groups, layer.features)
    chosen = conv.choose(jax.default_backend(), (batch, *layer.x[1:]), w, layer.strides, layer.groups)
    rows.append({"layer": name, **dataclasses.asdict(layer), "x": (batch, *layer.x[1:]), "train": train, "times": times,
                 "best": best, "chosen": chosen, "loss": times[chosen] / times[best]})
  return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
  """The rows as a Markdown table in milliseconds; the choice in bold."""
  names = list(conv.LOWERINGS)
  lines = ["| layer | " + " | ".join(names) + " | chosen / best |", "|---|" + "---:|" * (len(names) + 1)]
  for row in rows:
    cells = []
    for n in names:
      text = f"{row['times'][n] * 1e3:.2f}" if n in row["times"] else ""
      cells.append(f"**{text}**" if n == row["chosen"] else text)
    lines.append(f"| {row['layer']} | " + " | ".join(cells) + f" | {row['loss']:.2f} |")
  return "\n".join(lines)


def main(*, json: bool = False, **options: Any) -> None:
  """Prints the table, or JSON with device and versions."""
  rows = bench_conv(**options)
  if json:
    print(json_lib.dumps({"device": device_name(), "versions": versions(), "rows": rows}))
    return
  print(f"{device_name()}, milliseconds, {'forward + backward' if options.get('train') else 'forward'}")
  print(table(rows))
