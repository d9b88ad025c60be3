"""Rules that say where each tensor of a torch checkpoint lives in vidx, read in both directions.

A family of networks is a list of rules. Both sides of a rule are templates: `{i}`
stands for a number, `{i+1}` for that number plus one, `{part:conv|shortcut}` for one
of the words. So

    conv("layer{i}.{j}.conv1", "res{i+1}.{j}/conv1")

maps `layer3.0.conv1.weight` of torchvision to `params/res4.0/conv1/kernel`, and back.
Paths start with the collection (`params/`, `batch_stats/`).
"""

from collections.abc import Callable, Iterable
import dataclasses
import functools
import math
import re

import numpy as np

from vidx.nn import choices

_FIELD = re.compile(r"\{(\w+)(?:([+-]\d+)|:([^}]*))?\}")


@dataclasses.dataclass(frozen=True)
class Rule:
  """One kind of tensor.

  Attributes:
    key: template of the torch key.
    path: template of the path in the variables; for `kind="drop"` with `fill`, the
      path whose presence means that the key exists.
    kind: "raw" (same array), "linear" ((O, I) <-> (I, O)), "conv" ((O, I, k...) <->
      (k..., I, O)), "positions" (same array, which may be resized), another name of
      `KINDS`, "drop" (not carried over) or "constant" (must equal `fill`, which the model computes).
    part: (slot, slots): the tensor is one slot of the last axis of the target, such as
      the query's share of a joint projection.
    head: whether it belongs to the classifier and may be replaced by a new one.
    alias: another name for the same tensor, in other files: read, never written.
    reason: why a dropped tensor is not needed.
    fill: array that a dropped key gets on the way back to torch; None to leave it out.
  """

  key: str
  path: str = ""
  kind: str = "raw"
  part: tuple[int, int] = (0, 1)
  head: bool = False
  alias: bool = False
  reason: str = ""
  fill: np.ndarray | None = None

  def to_path(self, key: str) -> str | None:
    """The path for a torch key; None where the rule is about other keys."""
    return _translate(self.key, self.path, key)

  def to_key(self, path: str) -> str | None:
    """The torch key for a path; None where the rule is about other paths."""
    return _translate(self.path, self.key, path)


@functools.cache
def _matcher(template: str, other: str) -> tuple[re.Pattern, dict[str, int]]:
  """The regular expression of a template, and its fields with their offsets; words may stand in the other one."""
  words = {m[1]: m[3] for m in (*_FIELD.finditer(other), *_FIELD.finditer(template)) if m[3]}
  pieces, offsets, last = [], {}, 0
  for m in _FIELD.finditer(template):
    name, offset, _ = m.groups()
    pieces.append(re.escape(template[last:m.start()]))
    pieces.append(f"(?P={name})" if name in offsets else f"(?P<{name}>{words.get(name, chr(92) + 'd+')})")
    offsets.setdefault(name, int(offset or 0))
    last = m.end()
  pieces.append(re.escape(template[last:]))
  return re.compile("".join(pieces)), offsets


def _translate(source: str, target: str, text: str) -> str | None:
  """`text`, an instance of the template `source`, as an instance of `target`; None if it is no instance."""
  pattern, offsets = _matcher(source, target)
  found = pattern.fullmatch(text)
  if not found:
    return None
  numbers = {n: int(found[n]) - offset for n, offset in offsets.items() if found[n].isdigit()}
  if any(n < 0 for n in numbers.values()):
    return None

  def value(m):
    name, offset, _ = m.groups()
    return str(numbers[name] + int(offset or 0)) if name in numbers else found[name]

  return _FIELD.sub(value, target)


def _conv_in(x):
  return np.moveaxis(x, (0, 1), (-1, -2))


def _conv_out(x):
  return np.moveaxis(x, (-1, -2), (0, 1))


def _same(x):
  return x


#: kind -> (torch array -> vidx array, and back). Families may add to it.
KINDS: dict[str, tuple[Callable, Callable]] = {
    "raw": (_same, _same),
    "linear": (np.transpose, np.transpose),
    "conv": (_conv_in, _conv_out),
    "positions": (_same, _same),
    "pointwise": (lambda x: x[:, :, 0, 0, 0].T, lambda x: x.T[:, :, None, None, None]),  # (O, I, 1, 1, 1) <-> (I, O)
    "image": (lambda x: _conv_in(x[:, :, 0]), lambda x: _conv_out(x)[:, :, None]),  # (O, I, 1, h, w) <-> (h, w, I, O)
    "times": (lambda x: x[:, :, 0], lambda x: x[:, :, None]),  # (1, T, 1, D) <-> (1, T, D)
}


def inflated(kernel: np.ndarray, frames: int, how: str) -> np.ndarray:
  """A (kh, kw, I, O) kernel as (frames, kh, kw, I, O): 'mean' of equal frames, or in the 'centre' one."""
  choices.check("inflate", how, ("mean", "centre"))
  if how == "mean":
    return np.repeat(kernel[None] / frames, frames, 0)
  out = np.zeros((frames, *kernel.shape), kernel.dtype)
  out[frames // 2] = kernel
  return out


def resized_positions(table: np.ndarray, count: int) -> np.ndarray:
  """(1, 1 + n * n, D) positions, the CLS first, for a square grid of count - 1: cubic interpolation."""
  import jax
  before, after = (math.isqrt(max(n - 1, 0)) for n in (table.shape[1], count))
  if before ** 2 != table.shape[1] - 1 or after ** 2 != count - 1:
    raise ValueError(f"{table.shape[1]} and {count} positions are not both one CLS and a square grid")
  grid = table[0, 1:].reshape(before, before, -1)
  grid = jax.image.resize(grid, (after, after, grid.shape[-1]), "cubic", antialias=False)
  return np.concatenate([table[:, :1], np.asarray(grid).reshape(1, after * after, -1)], 1)


def raw(key: str, path: str, **options) -> list[Rule]:
  """One parameter that is the same on both sides."""
  return [Rule(key, "params/" + path, **options)]


def linear(key: str, path: str, **options) -> list[Rule]:
  """Weight and bias of a dense layer."""
  return [Rule(f"{key}.weight", f"params/{path}/kernel", "linear", **options),
          Rule(f"{key}.bias", f"params/{path}/bias", **options)]


def pointwise(key: str, path: str, **options) -> list[Rule]:
  """Weight and bias of a 1^3 convolution that is a dense layer here."""
  return [Rule(f"{key}.weight", f"params/{path}/kernel", "pointwise", **options),
          Rule(f"{key}.bias", f"params/{path}/bias", **options)]


def conv(key: str, path: str, **options) -> list[Rule]:
  """Weight and bias of a convolution of any rank."""
  return [Rule(f"{key}.weight", f"params/{path}/kernel", "conv", **options),
          Rule(f"{key}.bias", f"params/{path}/bias", **options)]


def scale_bias(key: str, path: str, **options) -> list[Rule]:
  """Layer or group normalisation."""
  return [Rule(f"{key}.weight", f"params/{path}/scale", **options),
          Rule(f"{key}.bias", f"params/{path}/bias", **options)]


def batch_norm(key: str, path: str, **options) -> list[Rule]:
  """Batch normalisation; the count of batches that torch keeps is not needed."""
  return scale_bias(key, path, **options) + [
      Rule(f"{key}.running_mean", f"batch_stats/{path}/mean", **options),
      Rule(f"{key}.running_var", f"batch_stats/{path}/var", **options),
      Rule(f"{key}.num_batches_tracked", f"batch_stats/{path}/mean", "drop",
           reason="batch statistics here need no count", fill=np.zeros((), np.int64))]


def drop(key: str, reason: str) -> list[Rule]:
  """Tensors that the model has no use for."""
  return [Rule(key, kind="drop", reason=reason)]


def aliases(rules: Iterable[Rule]) -> list[Rule]:
  """The same rules, for reading only."""
  return [dataclasses.replace(r, alias=True) for r in rules]


def constant(key: str, value: np.ndarray, reason: str) -> list[Rule]:
  """A buffer that the model computes; another value is an error."""
  return [Rule(key, kind="constant", reason=reason, fill=value)]


def prefixed(rules: Iterable[Rule], key: str = "", path: str = "") -> list[Rule]:
  """The same rules for a network that is a part of another: below `key` there, below `path` here."""

  def below(template):
    collection, _, rest = template.partition("/")
    return f"{collection}/{path}{rest}" if rest else template

  return [dataclasses.replace(r, key=key + r.key, path=below(r.path)) for r in rules]
