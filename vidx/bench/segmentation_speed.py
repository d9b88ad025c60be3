"""Speed of systems of long videos at real lengths: a training step, decoding, and the duration DP alone.

Labels are those of real videos, or drawn with about the numbers and lengths of
segments of Breakfast; features are synthetic, a prototype per class and noise, which
costs as much as real ones. Weights are random. One video at a time, padded to its
bucket as in training.
"""

from collections.abc import Callable, Mapping, Sequence
import json as json_lib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors, systems
from vidx.data import batch as batch_lib
from vidx.data.parts.features import bucket
from vidx.measure.clock import device_name, in_turns, program_bytes, versions
from vidx.nn.duration_dp import PUBLIC, poisson_dp
from vidx.tasks.segmentation import Segmentation
from vidx.terminal import counted
from vidx.train.state import run_once

NAMES = ("ms_tcn", "sct", "mucon")
SHARES = (0.5, 1.0)  # of the videos that are shorter than the measured one: the median video, and the longest
DP = dict(frames=5000, segments=10, max_length=2000)  # of the DP that is measured alone
_BUCKET = (32, 1.5)  # as vidx.train.config has it

Runs = list[tuple[str, int]]


def read_runs(path: str) -> list[Runs]:
  """The segments of videos, (class, frames), from a text file with a video per line, whose words LABEL:FRAMES they are.

  Words are divided by spaces or commas; others, and lines without such words, are passed over.

  Raises:
    DataError: the file cannot be read, or holds none.
  """
  try:
    with open(path, encoding="utf-8") as f:
      found = [[(c, int(n)) for c, n in re.findall(r"([^\s,:]+):([1-9]\d*)(?=[\s,]|$)", line)] for line in f]
  except (OSError, UnicodeDecodeError) as e:
    raise errors.DataError(f"{path} cannot be read as text ({' '.join(str(e).split())}).") from e
  if not any(found):
    raise errors.DataError(f"{path} holds no segments: a video per line is expected, in words LABEL:FRAMES.")
  return [runs for runs in found if runs]


def drawn_runs(videos: int = 200, classes: int = 48, seed: int = 0) -> list[Runs]:
  """Segments of videos with about the statistics of Breakfast: 6.8 segments a video, half of them under 168 frames."""
  rng = np.random.default_rng(seed)
  counts = 1 + rng.poisson(5.8, videos)
  lengths = lambda m: np.clip(np.exp(rng.normal(np.log(168), 1.1, m)), 5, 5791).astype(int).tolist()
  return [list(zip(map(str, rng.integers(0, classes, m)), lengths(m))) for m in counts]


def example(runs: Runs, ids: Mapping[str, int], size: int, steps: int, seed: int = 0) -> batch_lib.Batch:
  """A batch of one video.

  Args:
    runs: its segments.
    ids: of the classes.
    size: features of a frame.
    steps: room of the transcript.
    seed: of prototypes and noise.
  """
  rng = np.random.default_rng(seed)
  prototypes = rng.normal(size=(len(ids), size)).astype(np.float32)
  order = [ids[c] for c, _ in runs]
  labels = np.repeat(order, [n for _, n in runs]).astype(np.int32)
  frames = len(labels)
  after = bucket(frames, *_BUCKET) - frames
  features = prototypes[labels] + rng.standard_normal((frames, size), np.float32)
  ends = lambda x, n, fill: np.pad(x, [(0, n)] + [(0, 0)] * (np.ndim(x) - 1), constant_values=fill)[None]
  return {"features": ends(features, after, 0), "length": np.int32([frames]), "full": np.ones(1, np.float32),
          "label": np.isin(np.arange(len(ids)), order).astype(np.float32)[None],
          "transcript": ends(np.int32(order), steps - len(order), -1), "frame_label": ends(labels, after, -1)}


def bench_system(name: str, runs: Sequence[Runs], *, shares: Sequence[float] = SHARES, size: int = 2048,
                 seconds: float = 3.0, fields: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
  """Measures a system on videos of several lengths.

  Args:
    name: of a system that takes features.
    runs: the segments of all videos.
    shares: which videos, by the share of the others that are no longer.
    size: features of a frame.
    seconds: about how long each is measured; at least three times.
    fields: of the model.

  Returns:
    Per video a row: `name`, `frames`, `padded`, `segments`; `train_seconds`, forward, backward and an update by SGD,
    `decode_seconds`, from features to labels; and `train_bytes` and `decode_bytes`, that the compiled programs need.
  """
  ids = {c: i for i, c in enumerate(sorted({c for video in runs for c, _ in video}))}
  model = systems.create_model(name, num_classes=len(ids), **(fields or {}))
  if "features" not in getattr(model, "inputs", ()):
    raise errors.ConfigError(f"{name} takes no features of long videos; {', '.join(NAMES)} do.")
  steps = -(-max(map(len, runs)) // 8) * 8
  by_length = sorted(runs, key=lambda video: sum(n for _, n in video))
  start = run_once(lambda *x: model.init(jax.random.PRNGKey(0), *x))
  rows, variables = [], None
  for share in shares:
    video = by_length[round(share * (len(runs) - 1))]
    batch = example(video, ids, size, steps)
    if variables is None:
      variables = start(*batch_lib.inputs(model, example([(c, 8) for c in list(ids)[:8]], ids, size, steps)))
    on_device = jax.device_put(batch)
    train, train_bytes = _compiled(_train_step(model), variables, on_device)
    decode, decode_bytes = _compiled(_decode(model), variables, {k: on_device[k] for k in ("features", "length")})
    train_seconds, decode_seconds = (in_turns([call], seconds)[0] for call in (train, decode))
    rows.append({"name": name, "frames": int(batch["length"][0]), "padded": batch["features"].shape[1],
                 "segments": len(video), "train_seconds": train_seconds, "decode_seconds": decode_seconds,
                 "train_bytes": train_bytes, "decode_bytes": decode_bytes})
  return rows


def _train_step(model):
  """(variables, batch) -> variables after a step."""
  tx = optax.sgd(1e-3)

  def step(variables, batch):
    params = variables["params"]
    rest = {k: v for k, v in variables.items() if k != "params"}

    def loss(params):
      out, new = model.apply({"params": params, **rest}, *batch_lib.inputs(model, batch), train=True,
                             rngs={"dropout": jax.random.PRNGKey(0)}, mutable=list(rest))
      return Segmentation().loss(out, batch)[0].mean(), new

    grads, new = jax.grad(loss, has_aux=True)(params)
    updates, _ = tx.update(grads, tx.init(params))
    return {"params": optax.apply_updates(params, updates), **new}

  return step


def _decode(model):
  """(variables, batch) -> predictions of a video of which nothing else is known."""
  return lambda variables, batch: model.apply(variables, *batch_lib.inputs(model, batch))["predictions"]


def _compiled(function, *args) -> tuple[Callable[[], Any], int | None]:
  """A call of a function on given arguments, and the memory of its program."""
  program = jax.jit(function).lower(*args).compile()
  return lambda: jax.block_until_ready(program(*args)), program_bytes(program)


def bench_dp(frames: int = DP["frames"], segments: int = DP["segments"], max_length: int = DP["max_length"],
             seconds: float = 3.0) -> dict[str, Any]:
  """Measures the DP alone, exact and on the grid of 30 frames of MuCon's released code.

  Returns:
    `frames`, `segments`, `max_length`, `exact_seconds`, `grid_seconds`, and `exact_bytes` of memory.
  """
  rng = np.random.default_rng(0)
  log_probs = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(frames, 48)), jnp.float32))
  transcript = jnp.asarray(rng.integers(0, 48, segments), jnp.int32)
  means = jnp.full((segments,), frames / segments)
  of = lambda **options: lambda *x: poisson_dp(*x, **options)
  exact, exact_bytes = _compiled(of(max_length=max_length), log_probs, transcript, means)
  grid, _ = _compiled(of(**{**PUBLIC, "max_length": max_length}), log_probs, transcript, means)
  exact_seconds, grid_seconds = (in_turns([call], seconds)[0] for call in (exact, grid))
  return {"frames": frames, "segments": segments, "max_length": max_length, "exact_seconds": exact_seconds,
          "grid_seconds": grid_seconds, "exact_bytes": exact_bytes}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Rows of systems as a Markdown table."""
  lines = ["| system | frames | segments | training step ms | decoding ms | training MiB | decoding MiB |",
           "|---|---:|---:|---:|---:|---:|---:|"]
  size = lambda n: f"{n / 2**20:,.0f}" if n else ""
  return "\n".join(lines + [
      f"| {r['name']} | {r['frames']:,} (of {r['padded']:,}) | {r['segments']} | {1e3 * r['train_seconds']:,.0f} |"
      f" {1e3 * r['decode_seconds']:,.0f} | {size(r['train_bytes'])} | {size(r['decode_bytes'])} |" for r in rows])


def main(names: Sequence[str] = (), *, runs: str = "", json: bool = False, seconds: float = 3.0,
         **options: Any) -> None:
  """Prints the table and the DP's line, or JSON with device and versions.

  Args:
    names: of systems; NAMES where there are none.
    runs: file for `read_runs`; empty: `drawn_runs`.
    json: prints JSON.
    seconds: about how long each is measured.
    **options: of `bench_system`.
  """
  videos = read_runs(runs) if runs else drawn_runs()
  dp = bench_dp(seconds=seconds)
  rows = [row for name in names or NAMES for row in bench_system(name, videos, seconds=seconds, **options)]
  if json:
    print(json_lib.dumps({"device": device_name(), "versions": versions(), "videos": len(videos), "dp": dp,
                          "rows": rows}))
    return
  print(f"{device_name()}, one video of {len(videos)} at a time\n{table(rows)}")
  print(f"duration DP, {counted(dp['frames'], 'frame')}, {counted(dp['segments'], 'segment')} of up to"
        f" {dp['max_length']:,}: exact {1e3 * dp['exact_seconds']:.1f} ms, on a grid of 30 frames"
        f" {1e3 * dp['grid_seconds']:.1f} ms")
