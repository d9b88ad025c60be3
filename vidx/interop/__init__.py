"""Weights across frameworks: torch state dicts, as NumPy arrays, to variables and back.

`RULES` says, per family of networks and source, where the rules are; nothing is
imported before it is asked for, torch never. A family is a module with a function
per source, `timm(model) -> list[rules.Rule]`.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import importlib
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from vidx import errors
from vidx.interop import rules as rules_lib
from vidx.interop.rules import Rule
from vidx.terminal import counted

#: (class of the trunk, source) -> "module:function".
RULES: dict[tuple[str, str], str] = {
    ("ViT", "timm"): "vidx.interop.vit:timm",
    ("ViT", "deit"): "vidx.interop.vit:timm",
    ("ViT", "torchvision"): "vidx.interop.vit:torchvision",
    ("ViT", "timesformer"): "vidx.interop.vit:timesformer",
    ("ViT", "xvit"): "vidx.interop.vit:xvit",
    ("CvT", "cvt"): "vidx.interop.cvt:cvt",
    ("PSViT", "psvit"): "vidx.interop.psvit:psvit",
    ("BERT", "huggingface"): "vidx.interop.text:huggingface",
    ("ResNet", "torchvision"): "vidx.interop.resnet:torchvision",
    ("ResNet", "timm"): "vidx.interop.resnet:timm",
    ("ResNet", "kenshohara"): "vidx.interop.resnet:kenshohara",
    ("ResNet", "tsm"): "vidx.interop.resnet:tsm",
    ("ResNet", "pytorchvideo"): "vidx.interop.pytorchvideo:resnet",
    ("ResNet", "pyslowfast"): "vidx.interop.pytorchvideo:pyslowfast_resnet",
    ("MobileNet", "torchvision"): "vidx.interop.images:mobilenet_torchvision",
    ("MobileNet", "timm"): "vidx.interop.images:mobilenet_timm",
    ("MobileNet", "tsm"): "vidx.interop.images:mobilenet_tsm",
    ("ShuffleNet", "torchvision"): "vidx.interop.images:shufflenet_torchvision",
    ("VGG", "torchvision"): "vidx.interop.images:vgg_torchvision",
    ("VGG", "c3d"): "vidx.interop.images:c3d",
    ("AlexNet", "torchvision"): "vidx.interop.images:alexnet_torchvision",
    ("InceptionV3", "torchvision"): "vidx.interop.inception_v3:torchvision",
    ("InceptionV3", "pytorch_fid"): "vidx.interop.inception_v3:torchvision",
    ("InceptionResNet", "timm"): "vidx.interop.inception_resnet:timm",
    ("InceptionResNet", "cadene"): "vidx.interop.inception_resnet:cadene",
    ("DenseNet", "kenshohara"): "vidx.interop.densenet:kenshohara",
    ("Inception", "torchvision"): "vidx.interop.inception:torchvision",
    ("Inception", "cadene"): "vidx.interop.inception:cadene",
    ("Inception", "tsm"): "vidx.interop.inception:tsm",
    ("Inception", "pytorch_i3d"): "vidx.interop.inception:pytorch_i3d",
    ("SlowFast", "pytorchvideo"): "vidx.interop.pytorchvideo:slowfast",
    ("SlowFast", "pyslowfast"): "vidx.interop.pytorchvideo:pyslowfast_slowfast",
    ("AVSlowFast", "pyslowfast"): "vidx.interop.pytorchvideo:pyslowfast_avslowfast",
    ("X3D", "pytorchvideo"): "vidx.interop.pytorchvideo:x3d",
    ("X3D", "pyslowfast"): "vidx.interop.pytorchvideo:pyslowfast_x3d",
}

#: (class of the trunk, source) -> "module:function", called (model, state) -> state for what no rule can say
#: of one tensor.
PREPARED: dict[tuple[str, str], str] = {("CvT", "cvt"): "vidx.interop.cvt:without_convolutions"}


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of every tensor.

  Attributes:
    mapped: {torch key: path}.
    dropped: {torch key: reason}.
    changed: {torch key: what was done to fit the shape}, of the mapped ones.
    fresh: paths that no tensor filled: a new head.
  """

  mapped: Mapping[str, str]
  dropped: Mapping[str, str]
  changed: Mapping[str, str]
  fresh: Sequence[str]

  def __str__(self) -> str:
    lines = [f"{counted(len(self.mapped), 'tensor')} mapped, {len(self.dropped)} dropped, {len(self.fresh)} new"]
    for what in (self.changed, self.dropped):
      for reason in dict.fromkeys(what.values()):
        first, *more = [k for k, r in what.items() if r == reason]
        lines.append(f"  {first}{f' and {len(more)} more' if more else ''}: {reason}")
    return "\n".join(lines + [f"  {path}: new" for path in self.fresh])


def rules_of(model: Any, source: str) -> list[Rule]:
  """The rules between a model and a source.

  Raises:
    ConfigError: there are none.
  """
  name = type(model).__name__
  place = RULES.get((name, source))
  if place is None:
    sources = sorted(s for family, s in RULES if family == name)
    raise errors.ConfigError(f"no rules for weights of {name} from '{source}'{errors.hint(source, sources)};"
                             f" there are some for {', '.join(sources) or 'nothing'}.")
  return _load(place)(model)


def _load(place: str):
  module, _, function = place.partition(":")
  return getattr(importlib.import_module(module), function)


def shapes_of(model: Any, inputs: Sequence[Sequence[int]] = ()) -> dict[str, jax.ShapeDtypeStruct]:
  """{path: shape and dtype} of a model's variables; nothing is allocated.

  Args:
    model: a trunk.
    inputs: shapes of its inputs; default: a size that fits the trunk.
  """
  if not inputs:
    inputs = _examples(model)
  arrays = [jax.ShapeDtypeStruct(tuple(s), np.float32) for s in inputs]
  variables = jax.eval_shape(model.init, jax.random.PRNGKey(0), *arrays)
  return traverse_util.flatten_dict(variables, sep="/")


def _examples(model) -> list[tuple[int, ...]]:
  """Shapes of inputs that any model of its kind takes."""
  if "audio" not in model.inputs:
    return [_example(model)]
  known = {"video": (1, 32, 64, 64, 3), "audio": (1, 128, 80, 1), "audio_neg": (1, 128, 80, 1)}
  return [known.get(name, (1,)) for name in model.inputs]


def _example(model) -> tuple[int, ...]:
  """The shape of an input that any trunk of its kind takes."""
  if "text" in model.inputs:
    return (1, 8)
  if "features" in model.inputs:
    raise errors.ConfigError(f"the parameters of {type(model).__name__} depend on its input: give inputs=[(1, T, C)].")
  side = getattr(model, "image", 0) or 112
  return (1, getattr(model, "frames", 0) or 16, side, side, 3)


def from_torch(model: Any, state: Mapping[str, np.ndarray], source: str, *, inputs: Sequence[Sequence[int]] = (),
               new_head: bool = False, inflate: str = "", resize: bool = False, seed: int = 0
               ) -> tuple[dict[str, Any], Report]:
  """Variables of a model from the state dict of its torch original.

  Args:
    model: a trunk.
    state: {key: array}.
    source: whose original: 'timm', 'torchvision', ...; see `RULES`.
    inputs: shapes of the model's inputs, where its parameters depend on them.
    new_head: a classifier of another shape is left out and initialised anew.
    inflate: how 2-D kernels become 3-D: 'mean' repeats them along time, divided by its
      extent; 'centre' puts them into the middle frame; '' does not.
    resize: tables of positions are interpolated to the model's grid.
    seed: of what is initialised anew.

  Returns:
    Variables, fp32 as the model has them, and what became of every tensor.

  Raises:
    CheckpointError: a tensor without a place, a place without a tensor, or a shape that does not fit.
  """
  rules = rules_of(model, source)
  if (type(model).__name__, source) in PREPARED:
    state = _load(PREPARED[type(model).__name__, source])(model, state)
  shapes = shapes_of(model, inputs)
  out: dict[str, np.ndarray] = {}
  filled: dict[str, set[int]] = {}
  mapped, dropped, changed, wrong = {}, {}, {}, []
  for key, array in state.items():
    array = np.asarray(array)
    rule, path = _rule_for_key(rules, key, shapes)
    if rule is None:
      wrong.append(f"{key} has no rule")
    elif rule.kind == "drop":
      dropped[key] = rule.reason
    elif rule.kind == "constant":
      if array.shape != rule.fill.shape or not np.allclose(array, rule.fill, atol=1e-4):
        wrong.append(f"{key} is not the constant that the model computes")
      dropped[key] = rule.reason
    elif path not in shapes:
      wrong.append(f"{key} belongs to {path}, which the model has not")
    else:
      want = _part_shape(shapes[path].shape, rule)
      try:
        value, note = _fitted(rules_lib.KINDS[rule.kind][0](array), want, rule, inflate, resize)
      except (ValueError, IndexError) as e:  # a table of positions that is no grid, or fewer axes than of its kind
        wrong.append(f"{key} has shape {array.shape}, {path} wants {want}: {e}")
        continue
      if value is not None:
        whole = out.setdefault(path, np.zeros(shapes[path].shape, shapes[path].dtype))
        slots = filled.setdefault(path, set())
        if rule.part[0] in slots and not np.array_equal(whole[_slot(rule, want)], value):
          wrong.append(f"{key} is not equal to another tensor for {path}")
        whole[_slot(rule, want)] = value
        slots.add(rule.part[0])
        mapped[key] = path
        if note:
          changed[key] = note
      elif rule.head and new_head:
        dropped[key] = f"head of shape {array.shape}, the model's is {want}"
      else:
        more = "; new_head=True puts a new one there" if rule.head else ""
        wrong.append(f"{key} has shape {array.shape}, {path} wants {want}{more}")
  parts = {p: {r.part[0] for r in rules if r.kind != "drop" and r.to_key(p) is not None} for p in shapes}
  fresh = [p for p in shapes if filled.get(p, set()) < (parts[p] or {0})]
  heads = [p for p in fresh if new_head and any(r.head and r.to_key(p) is not None for r in rules)]
  wrong += [f"nothing fills {p}" for p in fresh if p not in heads]
  if wrong:
    head = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    raise errors.CheckpointError(f"weights from {source} do not fit {type(model).__name__}: {head}.")
  rng = np.random.default_rng(seed)
  for path in heads:
    kernel = path.endswith("/kernel")
    out[path] = (0.01 * rng.standard_normal(shapes[path].shape) if kernel else np.zeros(shapes[path].shape)
                 ).astype(shapes[path].dtype)
  variables = traverse_util.unflatten_dict({tuple(p.split("/")): out[p] for p in shapes})
  return variables, Report(mapped, dropped, changed, tuple(heads))


def to_torch(model: Any, variables: Mapping[str, Any], source: str) -> dict[str, np.ndarray]:
  """The state dict of the torch original; `from_torch` and back gives the same bits.

  Args:
    model: a trunk.
    variables: its variables.
    source: see `RULES`.

  Raises:
    CheckpointError: a variable without a rule.
  """
  flat = traverse_util.flatten_dict(variables, sep="/")
  rules = rules_of(model, source)
  out, lost = {}, []
  for path, value in flat.items():
    value, found = np.asarray(value), False
    for rule in rules:
      key = rule.to_key(path) if rule.path else None
      if key is None or rule.alias:
        continue
      if rule.kind == "drop":
        out[key] = rule.fill
        continue
      found = True
      out[key] = np.ascontiguousarray(rules_lib.KINDS[rule.kind][1](value[_slot(rule, _part_shape(value.shape, rule))]))
    if not found:
      lost.append(path)
  if lost:
    raise errors.CheckpointError(f"no rule of {source} for {', '.join(lost[:5])}, {counted(len(lost), 'variable')} in"
                                 " all.")
  out.update({rule.key: rule.fill for rule in rules if rule.kind == "constant"})
  return out


def _rule_for_key(rules, key, shapes):
  """The first rule for a key whose place the model has; else the first rule for it."""
  first = (None, "")
  for rule in rules:
    path = rule.to_path(key)
    if path is None:
      continue
    if rule.kind in ("drop", "constant") or path in shapes:
      return rule, path
    if first[0] is None:
      first = rule, path
  return first


def _part_shape(shape, rule):
  return (*shape[:-1], shape[-1] // rule.part[1]) if shape else shape


def _slot(rule, part_shape):
  """Where a part lies in the whole: a slice of the last axis."""
  size = part_shape[-1] if part_shape else 0
  return (Ellipsis, slice(rule.part[0] * size, (rule.part[0] + 1) * size)) if part_shape else ()


def _fitted(value, want, rule, inflate, resize):
  """(value in the wanted shape, what was done), or (None, '') where it does not fit."""
  want = tuple(want)
  if value.shape == want:
    return value, ""
  if rule.kind == "conv" and len(want) == 5 and value.shape == want[1:] and inflate:
    return rules_lib.inflated(value, want[0], inflate), f"inflated to {counted(want[0], 'frame')} ({inflate})"
  if rule.kind == "positions" and resize and value.shape[-1] == want[-1] and value.ndim == len(want):
    return (rules_lib.resized_positions(value, want[1]),
            f"resized from {value.shape[1]} to {counted(want[1], 'position')}")
  return None, ""
