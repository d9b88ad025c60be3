"""What a compiled program consists of, read from its text (XLA's HLO): cycles, bytes and kind of each instruction."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import math
import re

_BITS = {"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "bf16": 16, "f16": 16, "s32": 32,
         "u32": 32, "f32": 32, "s64": 64, "u64": 64, "f64": 64, "c64": 64, "c128": 128, "f8e4m3fn": 8, "f8e5m2": 8}
# Instructions that stand for no work of their own, or for what goes on beside other work.
_FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "copy-start", "copy-done", "slice-start",
         "slice-done", "after-all", "iota", "partition-id", "replica-id", "while", "conditional", "call", "opt-barrier",
         "async-start", "async-update", "async-done", "all-reduce-done", "all-gather-done", "collective-permute-done"}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# The kind of an instruction, or of one into which several were fused: the first of which it has an operation.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "collectives": tuple(c for name in COLLECTIVES for c in (name, f"{name}-start")),
    "products": ("convolution", "dot", "ragged-dot"),
    "custom calls": ("custom-call",),
    "sorts": ("sort", "topk"),
    "gathers": ("gather", "scatter", "dynamic-slice", "dynamic-update-slice"),
    "windows": ("reduce-window", "select-and-scatter"),
    "reductions": ("reduce",),
    "slices, pads, joins": ("pad", "concatenate", "slice", "reverse"),
    "layout": ("copy", "transpose"),
}
_PLAIN = {"copy", "transpose", "bitcast", "parameter", "convert", "tuple", "get-tuple-element", "reshape"}
_GPU_PRODUCTS = re.compile(r"cudnn|cublas|gemm|cutlass")
_LINE = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][a-z0-9\-]*)\((.*)")


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One instruction, as often as it is run.

  Attributes:
    kind: 'products', 'layout', ... or 'elementwise'.
    op: the operation's name, 'fusion' for several in one.
    times: runs of it: in loops, as often as the loop goes round.
    cycles: estimated by the compiler, of all runs; 0 where it states none.
    moved: bytes of operands and results, of all runs. Part of them may stay on the chip.
    shape: of the result, with its layout.
    scope: where in the network it comes from: 'ResNet/res2_0/conv1/conv_general_dilated'.
  """

  kind: str
  op: str
  times: int
  cycles: int
  moved: int
  shape: str
  scope: str


def instructions(text: str) -> list[Instruction]:
  """The instructions that a program runs, those in the bodies of loops and choices with it.

  Args:
    text: of a compiled program (`jax.stages.Compiled.as_text()`).

  Returns:
    One per instruction of the text; of a choice, those of its longest branch.
  """
  bodies = _computations(text)
  entry = re.search(r"\nENTRY %?([\w.\-]+)", "\n" + text)
  return _walked(bodies, entry[1], 1) if entry else []


def size(shape: str) -> int:
  """Bytes of a shape as the text writes it, of tuples in all."""
  total = 0
  for kind, sides in re.findall(r"\b(\w+)\[([\d,]*)\]", shape):
    total += math.prod(int(d) for d in sides.split(",") if d) * _BITS.get(kind, 0) // 8
  return total


def totals(found: Sequence[Instruction], key: Callable[[Instruction], str]) -> dict[str, dict[str, int]]:
  """{key: {'cycles', 'moved', 'count'}} of instructions, the largest first."""
  cycles, moved, count = Counter(), Counter(), Counter()
  for i in found:
    name = key(i)
    cycles[name] += i.cycles
    moved[name] += i.moved
    count[name] += i.times
  order = sorted(count, key=lambda name: (-cycles[name], -moved[name], name))
  return {name: dict(cycles=cycles[name], moved=moved[name], count=count[name]) for name in order}


def module(scope: str, depth: int = 2) -> str:
  """The part of a network that a scope names: 'jit(f)/jvp(Net)/Net.walk/res2_0/conv1/dot' at depth 2 is 'res2_0/conv1'.

  The program's and the network's own name, methods, and the operation at the end are left out.
  """
  parts = []
  for part in scope.split("/")[:-1]:
    while inner := re.fullmatch(r"(?:jvp|transpose|vmap|checkpoint|remat\d*|rematted_computation)\((.*)\)", part):
      part = inner[1]
    if part and not re.fullmatch(r"p?jit(\(.*\))?|jvp|transpose|.*\..*|closed_call|while|body|cond|checkpoint|shard_map"
                                 r"|custom_[jv]vp_call.*|branch_\d+_fun|remat\d*|rematted_computation", part):
      parts.append(part)
  named = parts[1:] if parts and parts[0][:1].isupper() else parts
  return "/".join(named[:depth]) or "(no module)"


def largest(found: Iterable[Instruction]) -> list[Instruction]:
  """Instructions in the order of their cycles, and of their bytes where those are equal."""
  return sorted(found, key=lambda i: (-i.cycles, -i.moved))


def custom_calls(text: str) -> dict[str, int]:
  """{target: number} of calls of what the compiler did not write itself."""
  return dict(Counter(re.findall(r'custom_call_target="([^"]+)"', text)).most_common())


def _computations(text: str) -> dict[str, list[str]]:
  """{name: its lines}."""
  found: dict[str, list[str]] = {}
  lines: list[str] | None = None
  for line in text.splitlines():
    head = re.match(r"(?:ENTRY )?%?([\w.\-]+) (?:\(.*\) -> .*)?{", line)
    if head:
      lines = found.setdefault(head[1], [])
    elif line.startswith("}"):
      lines = None
    elif lines is not None:
      lines.append(line)
  return found


def _walked(bodies: Mapping[str, list[str]], name: str, times: int) -> list[Instruction]:
  found: list[Instruction] = []
  sizes: dict[str, int] = {}
  for own, shape, op, rest, line in _parsed(bodies.get(name, ())):
    sizes[own] = size(shape)
    if op == "while":
      body = re.search(r"body=%?([\w.\-]+)", line)
      found += _walked(bodies, body[1], times * _rounds(line, bodies)) if body else []
    elif op == "conditional":
      branches = re.search(r"branch_computations={([^}]*)}", line)
      names = re.findall(r"%?([\w.\-]+)", branches[1]) if branches else re.findall(
          r"(?:true|false)_computation=%?([\w.\-]+)", line)
      choices = [_walked(bodies, branch, times) for branch in names]
      found += max(choices, key=lambda c: (sum(i.cycles for i in c), sum(i.moved for i in c)), default=[])
    elif op == "call":
      called = re.search(r"to_apply=%?([\w.\-]+)", line)
      found += _walked(bodies, called[1], times) if called else []
    if op in _FREE:
      continue
    operands = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
    cycles = re.search(r'"estimated_cycles":"?(\d+)', line)
    scope = re.search(r'op_name="([^"]*)"', line)
    found.append(Instruction(
        _kind(op, line, bodies), op, times, times * int(cycles[1] if cycles else 0),
        times * (sizes[own] + sum(sizes.get(o, 0) for o in operands)), shape, scope[1] if scope else ""))
  return found


def _rounds(line: str, bodies: Mapping[str, list[str]]) -> int:
  """How often a loop goes round: as it states, or else as its condition says, counted from 0; 1 where neither does."""
  if stated := re.search(r'"known_trip_count":{"n":"(\d+)"', line):
    return int(stated[1])
  condition = re.search(r"condition=%?([\w.\-]+)", line)
  constants: dict[str, int] = {}
  for own, _, op, rest, text in _parsed(bodies.get(condition[1], ()) if condition else ()):
    if op == "constant" and (value := re.match(r"(\d+)\)", rest)):
      constants[own] = int(value[1])
    elif op == "compare" and "ROOT" in text and "direction=LT" in text:
      return constants.get(re.findall(r"%?([\w.\-]+)", rest.split(")")[0])[-1], 1)
  return 1


def _parsed(lines: Sequence[str]) -> Iterator[tuple[str, str, str, str, str]]:
  """(name, shape, operation, what follows, line) of each instruction."""
  for line in lines:
    if match := _LINE.match(line):
      yield *match.groups(), line


def _kind(op: str, line: str, bodies: Mapping[str, list[str]]) -> str:
  ops = {op}
  if op == "fusion" and (called := re.search(r"calls=%?([\w.\-]+)", line)):
    ops = _ops(called[1], bodies)
  if op == "custom-call" and _GPU_PRODUCTS.search(line.partition('custom_call_target="')[2].partition('"')[0]):
    return "products"
  for kind, names in _KINDS.items():
    if ops & set(names) and (kind != "layout" or ops <= _PLAIN):
      return kind
  return "elementwise"


def _ops(name: str, bodies: Mapping[str, list[str]]) -> set[str]:
  """Names of the operations of a computation and of those that it calls."""
  found = set()
  for _, _, op, _, line in _parsed(bodies.get(name, ())):
    found.add(op)
    if op in ("fusion", "call") and (called := re.search(r"(?:calls|to_apply)=%?([\w.\-]+)", line)):
      found |= _ops(called[1], bodies)
  return found
