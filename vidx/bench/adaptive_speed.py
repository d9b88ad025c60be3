"""How much of what samplers save in multiply-accumulates they save in time: `vidx bench adaptive`.

Weights are random, so what a sampler would keep means nothing. The samplers run,
and are paid for; but how many entries each example keeps is drawn, and the draws are
moved until the share of multiply-accumulates that is left is the published one.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import json as json_lib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors, systems
from vidx.bench import model_speed
from vidx.infer import savings
from vidx.infer.adaptive import Adaptive
from vidx.measure import clock
from vidx.measure.count import count
from vidx.terminal import counted
from vidx.train.state import run_once

Counts = dict[str, np.ndarray]


def _by_rate(places: Sequence[str], whole: int, mean: float, rng: np.random.Generator, examples: int) -> Counts:
  """Every sampler keeps about the same share of what it is given, another in each example."""
  rate = np.clip(rng.normal(mean, 0.035, examples), 0.5, 1.0)
  power = np.arange(1, len(places) + 1)[:, None]
  return dict(zip(places, 1 + np.maximum(np.rint((whole - 1) * rate ** power), 8).astype(int)))


def _by_length(places: Sequence[str], whole: int, mean: float, rng: np.random.Generator, examples: int) -> Counts:
  """Clips keep a share of their frames around the mean."""
  share = np.clip(rng.normal(mean, 0.2, examples), 0, 1)
  return {place: np.maximum(np.rint(whole * share), 1).astype(int) for place in places}


@dataclasses.dataclass(frozen=True)
class Case:
  """What is measured.

  Attributes:
    system: name of a model with samplers, or of one that chooses frames.
    peer: name of the dense model whose PyTorch original is measured beside it.
    batch: examples at once.
    accelerator_batch: the same on an accelerator.
    batches: in a stream, whose last groups are not full.
    left: the published share of multiply-accumulates with samplers.
    draw: (places, whole, mean rate, rng, examples) -> counts; None where the model's own fields say how many.
    fields: of the model.
  """

  system: str
  peer: str
  batch: int
  accelerator_batch: int
  batches: int
  left: float = 0.0
  draw: Callable[..., Counts] | None = None
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


CASES = {case.system: case for case in (
    Case("ats_deit_s", "deit_s", 32, 256, 4, 2.9 / 4.6, _by_rate),  # table 7.6
    Case("atfr_x3d_s", "x3d_s", 16, 64, 32, 1.1 / 1.96, _by_length),  # table 6.7
    Case("atfr_resnet3d_slim_18", "", 16, 64, 4, 14.0 / 18.06, _by_length, {"num_classes": 200}),  # table 6.4
    Case("psn_r50", "", 2, 16, 4, fields={"num_classes": 200, "keep": 10}),  # 10 frames of 25
)}


def _first(counts, mask, xp=jnp):
  """A mask of the shape of `mask`, or one that spreads to it, for the first entries of each example, (B,) many."""
  return xp.arange(mask.shape[-1]) < xp.asarray(counts).reshape(-1, *(1,) * (mask.ndim - 1))


class Controlled(Adaptive):
  """A runner whose samplers keep given numbers of entries, whichever these are."""

  def __init__(self, model, variables, counts: Callable[[Adaptive], Counts], **options):
    super().__init__(model, variables, **options)
    self._draw, self.given = counts, {}

  def _plan(self, video):
    super()._plan(video)
    self.given = self.given or self._draw(self)

  def _seen_at(self, k, ids, ways, lengths):
    [(x, mask)] = ways
    given = np.zeros(len(x), int)
    given[:len(ids)] = list(self.given.values())[k][ids]
    mask = _first(given, mask, np if self._host else jnp)
    return super()._seen_at(k, ids, [(x, mask)], given[:len(ids), None])

  def run(self, batches):
    outputs, _ = super().run(batches)
    return outputs, self.given


class Branching:
  """The same trunk as one program: behind each cut a branch per capacity, taken by the largest count in the batch.

  What a compiler offers without a host that regroups examples; slower where it was measured, so not offered.
  """

  def __init__(self, runner: Controlled):
    """The capacities and counts are those that the runner has when this first runs."""
    self._runner, self._call = runner, jax.jit(self._whole)

  def run(self, batches: Sequence[jax.Array]) -> list[Any]:
    """Outputs of each batch."""
    given, starts = np.stack(list(self._runner.given.values())), np.cumsum([0, *map(len, batches)])
    return [self._call(self._runner.variables, video, jnp.asarray(given[:, start:start + len(video)]))
            for start, video in zip(starts, batches)]

  def _whole(self, variables, video, given):
    runner = self._runner
    out, *_ = runner.segment(0, variables, video)
    for k, counts in enumerate(given):
      [(x, mask)], [rungs] = out, runner.ladders[k]
      mask = _first(counts, mask)
      branches = [functools.partial(self._branch, k, (size,)) for size in rungs]
      out = jax.lax.switch(jnp.searchsorted(jnp.asarray(rungs), counts.max()), branches, variables, [(x, mask)])
    return out

  def _branch(self, k, sizes, variables, ways):
    runner = self._runner
    out, *_ = runner.segment(k + 1, variables, runner.model.fit(ways, sizes))
    return out if k + 1 == runner.cuts else runner.model.fit(out, [rungs[-1] for rungs in runner.ladders[k + 1]])


def with_share(case: Case, runner: Adaptive, examples: int) -> Counts:
  """Counts with which the published share of multiply-accumulates is left, to 0.2 %, or as near as they go."""
  whole = runner.ladders[0][0][-1]
  wanted = case.left * count(savings.without_samplers(runner.model, runner.macs.places), runner.example).macs
  low, high = 0.0, 1.0
  for _ in range(20):
    mean = (low + high) / 2
    counts = case.draw(runner.macs.places, whole, mean, np.random.default_rng(0), examples)
    found = float(runner.macs(counts).mean()) / wanted
    if abs(found - 1) < 2e-3:
      break
    low, high = (mean, high) if found < 1 else (low, mean)
  return counts


def bench(name: str, *, batch: int = 0, batches: int = 0, seconds: float = 20.0, dtype: str = "float32",
          peer: bool = False, branching: bool = False, fields: Mapping[str, Any] | None = None,
          shape: Sequence[int] = ()) -> dict[str, Any]:
  """Measures one case.

  Args:
    name: of CASES.
    batch: examples at once; 0: as the case has it.
    batches: in a stream; examples may wait for others of later batches; 0: as the case has it.
    seconds: about how long the slower side is measured.
    dtype: of the computation.
    peer: measures the dense PyTorch original as well.
    branching: measures one program with branches per capacity as well.
    fields: of the model, for other sizes than the published one.
    shape: of one example; as published where empty.

  Returns:
    Savings.to_json, and `name`, `batch`, `device`, `dtype`, `ladders`, `versions`; `padding`, the
    multiply-accumulates on dead entries over those on live ones; and `peer_seconds` and
    `branching_seconds` for as many clips (None where not measured).
  """
  if name not in CASES:
    raise errors.ConfigError(f"'{name}' is not measured{errors.hint(name, CASES)}; there are {', '.join(CASES)}.")
  case = CASES[name]
  batch = batch or (case.batch if jax.default_backend() == "cpu" else case.accelerator_batch)
  batches = batches or case.batches
  compute = {} if dtype == "float32" else {"dtype": jnp.dtype(dtype)}
  model = systems.create_model(name, **{**case.fields, **(fields or {})}, **compute)
  shape = (batch, *(shape or systems.rows()[name].inputs[0][1:]))
  rng = np.random.default_rng(0)
  videos = [jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(batches)]
  variables = run_once(model.init)(jax.random.PRNGKey(0), videos[0][:1])
  others = {}
  if case.draw is None:
    found, runner = _frames_chosen(model, variables, videos, seconds), None
  else:
    runner = Controlled(model, variables, lambda runner: with_share(case, runner, batch * batches))
    if peer and case.peer:
      one = model_speed.torch_pass(case.peer, np.asarray(videos[0]), False, dtype)
      others["peer_seconds"] = lambda: [one() for _ in videos]
    if branching:
      program = Branching(runner)
      others["branching_seconds"] = lambda: jax.block_until_ready(program.run(videos))
    found = savings.measure(runner, videos, seconds=seconds, others=list(others.values()))
  return {"name": name, **found.to_json(), "peer_seconds": None, "branching_seconds": None,
          **dict(zip(others, found.others)), "batch": batch, "dtype": dtype,
          "ladders": runner.ladders if runner else [], "padding": padding(runner) if runner else 0.0,
          "device": clock.device_name(), "versions": clock.versions(("torch",) if peer else ())}


def padding(runner: Controlled) -> float:
  """Multiply-accumulates on dead over those on live entries, at the runner's capacities: all that packing saves."""
  rounded = {place: np.asarray(rungs)[np.searchsorted(rungs, counts)]
             for (place, counts), [rungs] in zip(runner.given.items(), runner.ladders)}
  return float(runner.macs(rounded).mean() / runner.macs(runner.given).mean()) - 1


def _frames_chosen(model, variables, videos, seconds) -> savings.Savings:
  """Of a parallel sampling network against its classifier on all candidates: every example costs the same."""
  plain = model.clone(select="uniform", weighting=False, keep=videos[0].shape[1])
  sides = [jax.jit(lambda x, m=m: m.apply(variables, x)["logits"]) for m in (plain, model)]
  times = clock.in_turns([lambda f=f: [f(x).block_until_ready() for x in videos] for f in sides], seconds)
  example = jax.ShapeDtypeStruct((1, *videos[0].shape[1:]), jnp.float32)
  macs, examples = [count(m, example).macs for m in (plain, model)], sum(map(len, videos))
  return savings.Savings(*times, macs[0], np.full(examples, macs[1]), {"frames": np.full(examples, model.keep)})


def main(names: Sequence[str] = (), *, json: bool = False, **options: Any) -> None:
  """Prints the cases as text or JSON."""
  rows = []
  for name in names or CASES:
    rows.append(bench(name, **options))
    if not json:
      print(_text(rows[-1]), flush=True)
  if json:
    print(json_lib.dumps(rows))


def _text(r: Mapping[str, Any]) -> str:
  clips = r["clips"]
  lines = [f"{r['name']}: {counted(clips, 'example')} in batches of {r['batch']}, {r['dtype']}, {r['device']}",
           f"  dense     {r['dense_gmacs']:7.3f} GMACs  {r['dense_clips_per_s']:9.2f} clips/s",
           f"  adaptive  {r['gmacs']:7.3f} GMACs  {r['adaptive_clips_per_s']:9.2f} clips/s"]
  for side, name in (("peer_seconds", "PyTorch, dense"), ("branching_seconds", "one program")):
    if r[side]:
      lines.append(f"  {name:<24}  {clips / r[side]:9.2f} clips/s")
  saved = 1 - r["adaptive_seconds"] / r["dense_seconds"]
  lines.append(f"  saved {100 * r['counted_saving']:.1f} % of the multiply-accumulates and {100 * saved:.1f} % of the"
               f" time: {100 * r['realised_share']:.0f} % realised; {100 * r['padding']:.1f} % on dead entries")
  return "\n".join(lines)
