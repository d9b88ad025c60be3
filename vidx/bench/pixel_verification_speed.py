"""Pixel verification with and without its matrix of P x P weights, side by side: time and memory."""

from collections.abc import Sequence
import json as json_lib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.measure.clock import device_name, in_turns, program_bytes, versions
from vidx.nn.pixel_verification import verification_loss

CHANNELS = 64  # of the features before the image


def bench(side: int = 128, chunk: int = 1024, train: bool = False, batch: int = 1, seconds: float = 3.0
          ) -> dict[str, Any]:
  """Median seconds and bytes of the loss of one image, rows of the matrix a chunk at a time and all at once.

  Args:
    side: of the image, P = side^2 pixels.
    chunk: rows at a time.
    train: with the gradients of features and image.
    batch: images at once.
    seconds: how long the slower side is measured.

  Returns:
    {'side', 'chunk', 'train', 'batch', 'times': {'chunked', 'dense'}, 'bytes': the same, 'ratio'}.

  Raises:
    ConfigError: numbers below 1.
  """
  if min(side, chunk, batch) < 1:
    raise errors.ConfigError(f"side={side}, chunk={chunk} and batch={batch} are 1 at least.")
  rng = np.random.default_rng(0)
  some = lambda channels: jnp.asarray(rng.normal(size=(batch, side, side, channels)), jnp.float32)
  inputs = some(CHANNELS), some(CHANNELS), jnp.tanh(some(3)), jnp.tanh(some(3))

  def compiled(rows):
    loss = lambda *x: verification_loss(*x, chunk=rows).sum()
    return jax.jit(jax.value_and_grad(loss, (0, 1, 3)) if train else loss).lower(*inputs).compile()

  programs = {"chunked": compiled(chunk), "dense": compiled(0)}
  times = in_turns([lambda p=p: jax.block_until_ready(p(*inputs)) for p in programs.values()], seconds)
  times = dict(zip(programs, times))
  return {"side": side, "chunk": chunk, "train": train, "batch": batch, "times": times,
          "bytes": {name: program_bytes(p) for name, p in programs.items()}, "ratio": times["chunked"] / times["dense"]}


def lines(row: dict[str, Any]) -> Sequence[str]:
  """What is printed of a row."""
  found = [f"pixel verification, {row['batch']} x {row['side']} x {row['side']},"
           f" {'forward + backward' if row['train'] else 'forward'}, {device_name()}"]
  for name, seconds in row["times"].items():
    held = row["bytes"][name]
    found.append(f"  {name:8} {seconds * 1e3:9.1f} ms" + (f"  {held / 2**20:8.0f} MiB" if held else ""))
  return [*found, f"  ratio {row['ratio']:.2f}"]


def main(*, json: bool = False, **options: Any) -> None:
  """Prints the row, or JSON with device and versions."""
  row = bench(**options)
  if json:
    print(json_lib.dumps({"device": device_name(), "versions": versions(), **row}))
  else:
    print("\n".join(lines(row)))
