"""What XLA's compiler makes of a model or of a config's train step, for a TPU or a GPU that need not be there.

The compiler for TPUs writes an estimate of cycles on every instruction. It is static,
made from shapes alone, and no time: it is for comparing programs. The compiler for
GPUs states none. Bytes are those of the operands and results of instructions; part of them may stay
on the chip. Memory is what the program needs at once on each chip.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import json as json_lib
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from ml_collections import ConfigDict
import numpy as np

from vidx import errors, systems
from vidx.bench import stand_in
from vidx.data import batch as batch_lib
from vidx.measure import program_text, targets
from vidx.measure.clock import program_bytes, versions
from vidx.measure.count import count
from vidx.nn import tracing
from vidx.terminal import counted
from vidx.train import build, config as config_lib, sharding

_SHARE = 0.95  # of a chip's memory that a program may have; the rest is the runtime's
_CLIPS = ("video", "flow")
_USUAL = 8  # examples per chip
_SITES_ALONE = "*.out"  # what train.remat keeps where memory is short


@dataclasses.dataclass(frozen=True)
class Program:
  """A function to compile, with the shapes and places of its arguments.

  Attributes:
    fn: jitted.
    arguments: shapes, each with its sharding.
    macs: multiply-accumulates of a chip in the forward pass; 0 where they were not counted.
    train: whether it is a train step.
  """

  fn: Any
  arguments: tuple[Any, ...]
  macs: int
  train: bool


def bench_compiled(name: str = "", *, config: str | ConfigDict = "", model: Any = None,
                   shapes: Sequence[Sequence[int]] = (), train: bool = False, target: str = "v5e:2x2",
                   batch: int = 0, fit: bool = False, top: int = 0, hlo: str = "",
                   within: str = "") -> dict[str, Any]:
  """Compiles a model, or the train step of a config, and sums up the program.

  Args:
    name: of `vidx.list_models()`: the forward pass in evaluation, or with `train` a plain step of gradient
      descent, in bfloat16 on inputs of the published sizes.
    config: in place of a name: a config, or its file. Its whole train step is compiled: objectives, optimiser,
      averages of parameters, figures, over its mesh. Where its `data.root` is no folder here, its data set is stood in
      for by one of 50 classes.
    model: in place of both, any Flax module of your own or of another library, called as
      model(*inputs, train=...) -> logits or {'logits': ...}, in the dtype that it has.
    shapes: of its inputs, clips or images in bfloat16, each with an example: (1, T, H, W, 3).
    train: the train step of a name or model.
    target: 'v5e:2x2', 'v5p:2x2x1', 'v6e:2x2', larger slices of them, or 'h100'.
    batch: examples per chip; 0: 8, of a config its own batch over all chips.
    fit: finds the largest batch per chip, a multiple of 8 from 8 on, whose program fits the chip; of a config whose own
      batch over all chips does not fit, with `train.remat='*.out'` where more fits with it.
    top: so many instructions, and changes of layout, are listed.
    hlo: file for the program's text.
    within: a part of the network, a module or a named scope, whose instructions are summed up by themselves.

  Returns:
    'name', 'target', 'chips', 'train', 'batch' (per chip), 'estimated_cycles' (of a chip; 0 on a GPU), 'moved',
    'share' (of the matrix units' peak, by the estimate), 'memory' and 'memory_of_chip' (bytes), 'fits', 'kinds' and
    'modules' ({name: {'cycles', 'moved', 'count'}}), 'collectives' ({kind: {'count', 'bytes'}}), 'custom_calls',
    'instructions' and 'copies' (lists), 'versions'; with `fit` 'tried' ({batch: bytes, or None where the compiler
    found no room}) and 'remat' (the pattern that was taken), with `within` 'within' ({'cycles', 'moved', 'count'}).

  Raises:
    ConfigError: no such name, config or target; its compiler is missing; nothing fits.
  """
  if bool(name) + bool(config) + (model is not None) != 1:
    raise errors.ConfigError("give a model's name or --config=FILE, and not both.")
  if batch < 0:
    raise errors.ConfigError(f"batch={batch}: at least 1, or 0 for the usual one.")
  if name:
    systems.create_model(name)  # a name that is none is told before a compiler that is missing
  chip, devices = targets.chip(target), targets.devices(target)
  if config and not isinstance(config, ConfigDict):
    config = config_lib.load_file(config)
  if config:
    make = functools.partial(_of_config, config, devices)
  elif name:
    make = functools.partial(_of_name, name, train, devices)
  else:
    make = functools.partial(_of_module, model, shapes, [_CLIPS[0]] * len(shapes), 0, train, devices)
  tried: dict[int, int | None] = {}
  remat = config.train.remat if config else ""
  if fit and config:
    remat, batch, program, compiled = _fitted_of_config(config, devices, chip, target, tried)
  elif fit:
    batch, program, compiled = _fitted(make, chip, target, tried)
  else:
    program = make(batch)
    compiled = _compiled(program, target)
    batch = batch or (config.train.batch_size // len(devices) if config else _USUAL)
  text = compiled.as_text()
  if hlo:
    with open(hlo, "w", encoding="utf-8") as f:
      f.write(text)
  found = program_text.instructions(text)
  cycles, memory = sum(i.cycles for i in found), program_bytes(compiled) or 0
  products = program.macs * (3 if program.train else 1)
  result = dict(
      name=name or (config.system.name if config else type(model).__name__),
      target=target, chips=len(devices), train=program.train, batch=batch,
      estimated_cycles=cycles, moved=sum(i.moved for i in found),
      share=products / chip.macs_per_cycle / cycles if cycles and products and chip.macs_per_cycle else None,
      memory=memory, memory_of_chip=chip.memory, fits=memory <= _SHARE * chip.memory,
      kinds=program_text.totals(found, lambda i: i.kind),
      modules=program_text.totals(found, lambda i: program_text.module(i.scope, 1)),
      collectives=_collectives(found), custom_calls=program_text.custom_calls(text),
      instructions=_listed(program_text.largest(found)[:top]),
      copies=_listed(program_text.largest(i for i in found if i.kind == "layout")[:top]),
      versions=versions(("libtpu", "jax-cuda12-plugin")))
  if within:
    own = [i for i in found if within in program_text.module(i.scope, len(i.scope)).split("/")]
    nothing = dict(cycles=0, moved=0, count=0)
    result["within"] = program_text.totals(own, lambda i: within).get(within, nothing)
  return {**result, **({"tried": tried, "remat": remat} if fit else {})}


def _of_name(name: str, train: bool, devices: list[Any], batch: int) -> Program:
  """A model's forward pass, or a plain train step, over all chips."""
  model, shapes = systems.create_model(name, dtype=jnp.bfloat16), systems.rows()[name].inputs
  macs = count(systems.create_model(name), *(jax.ShapeDtypeStruct(tuple(s), jnp.float32) for s in shapes)).macs
  return _of_module(model, shapes, getattr(model, "inputs", ("video",)), macs, train, devices, batch)


def _of_module(model: Any, shapes: Sequence[Sequence[int]], names: Sequence[str], macs: int, train: bool,
               devices: list[Any], batch: int) -> Program:
  """The same of any module; `macs` are those of an example."""
  batch = batch or _USUAL
  mesh = Mesh(np.array(devices), ("data",))
  split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
  ones = [jax.ShapeDtypeStruct(tuple(s), jnp.float32) for s in shapes]
  variables = jax.eval_shape(lambda *x: model.init(jax.random.key(0), *x, train=False), *ones)
  placed = _placed(variables, whole)
  inputs = [jax.ShapeDtypeStruct((batch * len(devices), *s[1:]), jnp.bfloat16 if n in _CLIPS else jnp.float32,
                                 sharding=split) for n, s in zip(names, shapes)]

  @tracing.spread_over(len(devices))
  def forward(variables, *x):
    return model.apply(variables, *x, train=False)

  @tracing.spread_over(len(devices))
  def step(variables, key, *x):
    def loss(params):
      out, state = model.apply({**variables, "params": params}, *x, train=True, rngs={"dropout": key},
                               mutable=[k for k in variables if k != "params"] + ["losses", "figures"])
      found = out.get("logits", out) if isinstance(out, Mapping) else out
      return sum(_entropy(leaf) for leaf in jax.tree.leaves(found)), state
    (value, state), grads = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return value, state, jax.tree.map(lambda p, g: p - 0.1 * g, variables["params"], grads)

  if not train:
    return Program(jax.jit(forward), (placed, *inputs), batch * macs, False)
  key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=whole)
  return Program(jax.jit(step, donate_argnums=0), (placed, key, *inputs), batch * macs, True)


def _entropy(x: jax.Array) -> jax.Array:
  """Cross entropy of the first class: any loss of the logits' size will do."""
  if not jnp.issubdtype(x.dtype, jnp.floating):
    return jnp.zeros(())
  return -jnp.mean(jax.nn.log_softmax(jnp.atleast_1d(x).astype(jnp.float32))[..., 0])


def _of_config(config: ConfigDict, devices: list[Any], batch: int) -> Program:
  """The train step of a config over all chips."""
  config = config.copy_and_resolve_references()
  if config.train.precision == "auto":
    config.train.precision = "bfloat16"
  if batch:
    config.train.batch_size = batch * len(devices) * config.optimizer.accumulate
  there = config.data.root and os.path.isdir(config.data.root)
  data = build.load_split(config, config.data.train_split) if there else stand_in.dataset(config)
  run = build.build(config, data, devices)
  place = NamedSharding(run.mesh, sharding.BATCH)
  shapes = stand_in.batch(config, data, batch_lib.wanted(run.model, run.task))
  arrays = {k: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=place) for k, s in shapes.items()
            if np.dtype(s.dtype).kind in "uif"}
  state = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), run.abstract, run.shardings)
  macs = config.train.batch_size * count(run.model, *run.inputs).macs // len(devices)
  return Program(run.step(), (state, arrays), macs, True)


def _placed(tree: Any, where: NamedSharding) -> Any:
  return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), tree)


def _compiled(program: Program, target: str) -> jax.stages.Compiled:
  """Compiles; raises ConfigError where the compiler finds no room on the chip."""
  with tracing.traced_for("cuda" if target == "h100" else "tpu"):
    lowered = program.fn.lower(*program.arguments)
  cached = jax.config.jax_enable_compilation_cache
  jax.config.update("jax_enable_compilation_cache", False)  # what is kept there is loaded onto a chip
  try:
    return lowered.compile(compiler_options=targets.options(target))
  except jax.errors.JaxRuntimeError as e:
    if "RESOURCE_EXHAUSTED" not in str(e):
      raise
    raise errors.ConfigError(f"the program does not fit {target}: {' '.join(str(e).split())[:200]}"
                             " Take a smaller --batch, or let --fit find it.") from e
  finally:
    jax.config.update("jax_enable_compilation_cache", cached)


def _fitted(make, chip: targets.Chip, target: str, tried: dict[int, int | None]):
  """(batch, program, compiled) of the largest batch that fits, in few compilations: memory grows evenly with it."""
  room, kept = _SHARE * chip.memory, {}

  def needed(batch: int) -> int | None:
    if batch not in tried:
      program = make(batch)
      try:
        compiled = _compiled(program, target)
        tried[batch] = program_bytes(compiled) or 0
        kept[batch] = program, compiled
      except errors.ConfigError:
        tried[batch] = None
    return tried[batch]

  fits = lambda batch: needed(batch) is not None and needed(batch) <= room
  low, high = 0, math.inf  # batches that fit, and that do not, in steps of 8
  step, guess = 8, 8
  while high - low > step:
    if fits(guess):
      low = guess
    else:
      high = guess
    known = sorted(b for b in tried if tried[b])
    if len(known) > 1 and tried[known[-1]] > tried[known[-2]]:
      a, b = known[-2:]
      guess = int(b + (room - tried[b]) / (tried[b] - tried[a]) * (b - a)) // step * step
    else:
      guess = 2 * low
    guess = max(low + step, min(guess, high - step, 8 * low or step))
  if not low:
    raise errors.ConfigError(f"{target} has no room for even {counted(step, 'example')}.")
  return low, *kept[low]


def _fitted_of_config(config: ConfigDict, devices: list[Any], chip: targets.Chip, target: str,
                      tried: dict[int, int | None]):
  """(pattern of train.remat, batch, program, compiled): values of sites alone are kept where else too little fits."""
  own = config.train.batch_size // (len(devices) * config.optimizer.accumulate)
  best, failed = None, None
  for remat in dict.fromkeys((config.train.remat, config.train.remat or _SITES_ALONE)):
    variant, sizes = config.copy_and_resolve_references(), {}
    variant.train.remat = remat
    try:
      batch, *rest = _fitted(functools.partial(_of_config, variant, devices), chip, target, sizes)
    except errors.ConfigError as e:  # nothing fits, or it has no such sites
      failed = failed or e
      continue
    if not best or batch > best[1]:
      best = remat, batch, *rest
      tried.clear()
      tried.update(sizes)
    if batch + 8 > own:  # batches are tried in steps of 8
      break
  if not best:
    raise failed
  return best


def _collectives(found: list[program_text.Instruction]) -> dict[str, dict[str, int]]:
  """{kind: {'count', 'bytes'}}; bytes are those of the results, on each chip."""
  out: dict[str, dict[str, int]] = {}
  for i in found:
    name = i.op.removesuffix("-start")
    if name in program_text.COLLECTIVES:
      row = out.setdefault(name, dict(count=0, bytes=0))
      row["count"] += i.times
      row["bytes"] += i.times * program_text.size(i.shape)
  return out


def _listed(found: list[program_text.Instruction]) -> list[dict[str, Any]]:
  return [dataclasses.asdict(i) for i in found]


def main(name: str = "", *, json: bool = False, top: int = 12, within: str = "", **options: Any) -> int:
  """Prints the summary as text or JSON."""
  r = bench_compiled(name, top=top, within=within, **options)
  if json:
    print(json_lib.dumps(r))
    return 0
  print(to_text(r))
  if within:
    own, share = r["within"], lambda a, b: f"{100 * a / b:.2f} %" if b else "none"
    print(f"within {within}: {counted(own['count'], 'instruction')}, {own['cycles'] / 1e6:.3f} Mcycles"
          f" ({share(own['cycles'], r['estimated_cycles'])}), {own['moved'] / 1e9:.3f} GB"
          f" ({share(own['moved'], r['moved'])})")
  return 0


def to_text(r: Mapping[str, Any]) -> str:
  """The summary for reading."""
  cycles = f"{r['estimated_cycles'] / 1e6:.2f} Mcycles estimated, " if r["estimated_cycles"] else ""
  share = f"{100 * r['share']:.1f} % of the matrix units' peak by that, " if r["share"] else ""
  lines = [f"{r['name']}, {'train step' if r['train'] else 'forward'}, {r['target']} ({counted(r['chips'], 'chip')}),"
           f" {counted(r['batch'], 'example')} per chip",
           f"  {cycles}{share}{r['moved'] / 1e9:.2f} GB of operands and results per chip",
           f"  {r['memory'] / 2**30:.2f} GiB of {r['memory_of_chip'] >> 30} GiB"
           + ("" if r["fits"] else ": does not fit")]
  if "tried" in r:
    sizes = ", ".join(f"{b}: " + ("no room" if m is None else f"{m / 2**30:.2f} GiB")
                      for b, m in sorted(r["tried"].items()))
    by = f" by train.remat='{r['remat']}'" if r["remat"] else ""
    lines.append(f"  largest batch per chip that fits{by}: {r['batch']} (tried {sizes})")
  calls = ", ".join(f"{n} {name}" for name, n in list(r["custom_calls"].items())[:6])
  collectives = ", ".join(f"{row['count']} {name} of {row['bytes'] / 1e6:.1f} MB"
                          for name, row in r["collectives"].items())
  lines += [f"  collectives: {collectives or 'none'}; custom calls: {calls or 'none'}"]
  for title in ("kinds", "modules"):
    lines.append(f"{title[:-1]:<32} {'Mcycles':>9} {'GB':>8} {'count':>7}")
    lines += [f"  {name[:30]:<30} {v['cycles'] / 1e6:>9.3f} {v['moved'] / 1e9:>8.3f} {v['count']:>7}"
              for name, v in list(r[title].items())[:14]]
  for title in ("instructions", "copies"):
    if r[title]:
      lines.append({"instructions": "largest instructions", "copies": "largest changes of layout"}[title])
    lines += [f"  {i['cycles'] / 1e6:>8.3f} Mcycles {i['moved'] / 1e6:>9.1f} MB  {i['kind']:<20} {i['shape'][:44]:<44}"
              f" {program_text.module(i['scope'], 4)}" for i in r[title]]
  return "\n".join(lines)
