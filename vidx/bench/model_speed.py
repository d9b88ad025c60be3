"""Speed of a model on this machine, and beside its PyTorch peer in the same process.

Both sides do the same work on the same random input: the forward pass in
evaluation mode, or, with `train`, the forward and backward pass in training mode, with
gradients of every parameter. Everything is compiled and warmed up before; then the
sides take turns, and the median of each counts; a large matrix product takes turns with
them, as the peak of the machine. On a GPU the peer runs as its users
would run it: `torch.compile`, channels last, in the same precision.
"""

from collections.abc import Callable, Sequence
import json as json_lib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors, systems
from vidx.bench import peers
from vidx.data import batch as batch_lib
from vidx.measure.clock import device_name, in_turns, program_bytes, versions
from vidx.measure.count import count
from vidx.train.state import run_once

WORDS = ("text",)  # inputs that are numbers of word pieces


def bench_model(name: str, *, train: bool = False, batch: int = 1, peer: bool = False, dtype: str = "float32",
                seconds: float = 10.0, frames: int = 0, side: int = 0) -> dict[str, Any]:
  """Measures one model.

  Args:
    name: a name of `vidx.list_models()` whose inputs are arrays of a fixed shape.
    train: forward and backward pass; otherwise the forward pass.
    batch: examples at once.
    peer: measures the peer as well, in turns.
    dtype: 'float32' or 'bfloat16': of the computation; for the peer of its parameters too.
    seconds: about how long the slower side is measured; at least three times are taken.
    frames: of a clip; 0: as published.
    side: of the frames in pixels; 0: as published.

  Returns:
    `name`, `device`, `seconds` and `peer_seconds` (medians of one pass over the batch; None without a
    peer), `ratio` (of both), `clips_per_s`, `peak_bytes` (that the compiled program needs at once) and
    `peer_peak_bytes` (on a GPU), `gmacs` of one example, `share_of_peak` (of the matrix products of this
    machine, `peak_flops`), and what was measured: `train`, `batch`, `input`, `beside` (shapes of further inputs by
    name), `dtype`, `versions`.

  Raises:
    ConfigError: an unknown name, a model of other inputs, no peer.
  """
  errors.check_choice("dtype", dtype, ("float32", "bfloat16"))
  if batch < 1:
    raise errors.ConfigError(f"batch={batch}: at least 1.")
  model = systems.create_model(name, **({} if dtype == "float32" else {"dtype": jnp.dtype(dtype)}))
  row = systems.rows()[name]
  if any(len(shape) < 2 for shape in row.inputs) or not row.inputs:
    raise errors.ConfigError(f"{name} takes {', '.join(model.inputs)}, of which not all are arrays of a fixed shape.")
  if (frames or side) and "video" not in model.inputs:
    raise errors.ConfigError(f"{name} takes {', '.join(model.inputs)}; only clips and images have another size.")
  shapes = [_shape(shape, batch, frames, side) for shape in row.inputs]
  xs = made(model.inputs, shapes)
  run, peak_bytes = one_pass(model, xs, train)
  sides = [run]
  if peer:
    sides.append(torch_pass(name, xs[0], train, dtype))
  product, product_flops = _product(dtype)
  *times, product_seconds = in_turns([*sides, product], seconds)
  counts = count(systems.create_model(name), *(jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for x in xs))
  peak = product_flops / product_seconds
  flops = counts.macs * 2 * batch * (3 if train else 1)
  return {
      "name": name, "device": device_name(), "seconds": times[0], "peer_seconds": times[1] if peer else None,
      "ratio": times[0] / times[1] if peer else None, "clips_per_s": batch / times[0], "peak_bytes": peak_bytes,
      "peer_peak_bytes": _torch_peak() if peer else None, "gmacs": counts.macs / 1e9,
      "share_of_peak": flops / times[0] / peak, "peak_flops": peak, "train": train, "batch": batch,
      "input": list(shapes[0]), "beside": {k: list(s) for k, s in list(zip(model.inputs, shapes))[1:]},
      "dtype": dtype, "peer": peers.PEERS[name].library if peer else None,
      "versions": versions(("torch", "torchvision", "timm", "pytorchvideo") if peer else ()),
  }


def _product(dtype: str) -> tuple[Callable[[], None], int]:
  """A large square matrix product as a function, and its floating-point operations."""
  size = 2048 if jax.default_backend() == "cpu" else 8192
  a = jnp.ones((size, size), dtype)
  multiply = jax.jit(lambda a: a @ a)
  return lambda: multiply(a).block_until_ready(), 2 * size**3


def _shape(published: tuple[int, ...], batch: int, frames: int, side: int) -> tuple[int, ...]:
  """With another number of examples, and of images and clips another size; the first axis counts examples."""
  if len(published) < 4:
    return (batch, *published[1:])
  *lead, height, width, channels = published
  lead = [batch, *([frames or lead[1]] if len(lead) > 1 else []), *lead[2:]]
  return (*lead, side or height, side or width, channels)


def made(names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
  """Inputs of a model: normal numbers, ones for what is live, and of what counts or names something zeros."""
  rng, found = np.random.default_rng(0), []
  for name, shape in zip(names, shapes):
    dtype = np.int32 if name in WORDS else getattr(batch_lib.field(name), "dtype", np.float32) or np.float32
    if name.endswith("mask"):
      found.append(np.ones(shape, np.float32))
    elif np.issubdtype(dtype, np.floating) or batch_lib.is_clip(name):
      found.append(rng.normal(size=shape).astype(np.float32))
    else:
      found.append(np.zeros(shape, dtype))
  return found


def _scored(out: Any) -> Any:
  """What a program is to give: logits, or all that is given where there are none."""
  return out["logits"] if "logits" in out else out


def one_pass(model: Any, xs: Sequence[np.ndarray], train: bool) -> tuple[Callable[[], None], int | None]:
  """One pass of a model over inputs as a function, and the memory of its compiled program."""
  variables = run_once(model.init)(jax.random.PRNGKey(0), *xs)
  xs, key = [jnp.asarray(x) for x in xs], jax.random.PRNGKey(0)

  def forward(variables, *xs):
    return _scored(model.apply(variables, *xs))

  def gradients(variables, *xs):
    def loss(params):
      out, state = model.apply({**variables, "params": params}, *xs, train=True, mutable=["batch_stats"],
                               rngs={"dropout": key})
      given = [x for x in jax.tree.leaves(_scored(out)) if jnp.issubdtype(x.dtype, jnp.floating)]
      return sum(x.sum() for x in given), state
    return jax.grad(loss, has_aux=True)(variables["params"])

  compiled = jax.jit(gradients if train else forward).lower(variables, *xs).compile()
  return lambda: jax.block_until_ready(compiled(variables, *xs)), program_bytes(compiled)


def torch_pass(name: str, x: np.ndarray, train: bool, dtype: str) -> Callable[[], None]:
  """One pass of a model's PyTorch peer over x (B, ..., H, W, 3) as a function."""
  clip = x.ndim == 5
  peer, module = peers.make(name, x.shape[1] if clip else 1, x.shape[-2])
  import torch
  if peer.frames and clip:
    x = x.reshape(-1, *x.shape[2:])
  x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))
  module = module.train(train)
  cuda = jax.default_backend() in ("gpu", "cuda") and torch.cuda.is_available()
  if cuda:
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    module, x = module.cuda().to(memory_format=layout), x.cuda().to(memory_format=layout)
  if dtype != "float32":
    module, x = module.to(getattr(torch, dtype)), x.to(getattr(torch, dtype))
  if cuda:
    module = torch.compile(module)
    torch.cuda.reset_peak_memory_stats()

  def run():
    if train:
      module.zero_grad(set_to_none=True)
      module(x).float().sum().backward()
    else:
      with torch.inference_mode():
        module(x)
    if cuda:
      torch.cuda.synchronize()

  run()  # compiles
  return run


def _torch_peak() -> int | None:
  import torch
  return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def main(name: str, *, json: bool = False, **options: Any) -> None:
  """Prints one measurement as text or JSON."""
  r = bench_model(name, **options)
  if json:
    print(json_lib.dumps(r))
    return
  what = "forward + backward" if r["train"] else "forward"
  shapes = [r["input"], *r["beside"].values()]
  print(f"{r['name']}: {what}, {', '.join('x'.join(map(str, s)) for s in shapes)}, {r['dtype']}, {r['device']}")
  print(f"  vidx  {r['seconds'] * 1e3:10.1f} ms  {r['clips_per_s']:9.2f} clips/s  {r['gmacs']:.2f} GMACs each,"
        f" {100 * r['share_of_peak']:.0f} % of the peak of {r['peak_flops'] / 1e9:,.0f} GFLOP/s"
        + (f"  {r['peak_bytes'] / 2**20:,.0f} MiB" if r["peak_bytes"] else ""))
  if r["peer_seconds"]:
    print(f"  {r['peer']:5} {r['peer_seconds'] * 1e3:10.1f} ms  {r['batch'] / r['peer_seconds']:9.2f} clips/s"
          + (f"  {r['peer_peak_bytes'] / 2**20:,.0f} MiB" if r["peer_peak_bytes"] else ""))
    print(f"  ratio {r['ratio']:.2f}")
