"""Parameters and multiply-accumulates of a model from shapes alone.

The model is traced with `jax.eval_shape` and its jaxpr is walked: nothing is
allocated or computed.
"""

from collections.abc import Mapping
import dataclasses
import math
import re
import types
from typing import Any

from flax import linen as nn
import jax
from jax.extend import core as jex

from vidx.nn import choices, conv, norm


@dataclasses.dataclass(frozen=True)
class Counts:
  """Sizes of a model.

  Attributes:
    params: trainable scalars.
    macs: multiply-accumulates of one call.
    by_module: {'res2_0/conv1': (params, macs)}, of each innermost module.
  """

  params: int
  macs: int
  by_module: Mapping[str, tuple[int, int]]


def count(model: Any, *inputs: jax.ShapeDtypeStruct, convention: str = "true",
          masked: Mapping[str, int] = types.MappingProxyType({}), **kwargs: Any) -> Counts:
  """Counts a linen module for the given inputs.

  Args:
    model: linen module, called as model(*inputs, train=False, **kwargs).
    *inputs: shapes and dtypes.
    convention: 'true' counts convolutions and matrix products, those of
      attention included; 'published' leaves products of two activations
      (attention) out, adds 2 per output element of a batch normalisation and
      counts transposed convolutions at the length of their output, as the papers
      that print such figures do.
    masked: {name: channels per group} of modules whose depth-wise kernels were
      published as a grouped convolution times a mask of its size: kernel and mask are
      both counted, their products are not. Huang's RNL: {'region': 32}.
    **kwargs: of the model's call.

  Returns:
    The counts, for the batch given.
  """
  choices.check("convention", convention, ("true", "published"))
  with conv.using("native"):
    key = jax.random.PRNGKey(0)
    variables = jax.eval_shape(lambda *x: model.init(key, *x, train=False, **kwargs), *inputs)
    jaxpr = jax.make_jaxpr(lambda v, *x: model.apply(v, *x, train=False, **kwargs))(variables, *inputs)
  published = convention == "published"
  macs = products(jaxpr.jaxpr, len(jax.tree.leaves(variables)), published)
  params: dict[str, int] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
    name = "/".join(k.key for k in path[:-1])
    params[name] = params.get(name, 0) + math.prod(leaf.shape)
  if published:
    _add_norms(model, variables, inputs, kwargs, macs)
  for name in params:
    if group := masked.get(name.rpartition("/")[2]):
      params[name], macs[name] = 2 * group * params[name], 0
  names = dict.fromkeys([*params, *macs])
  by_module = {n: (params.get(n, 0), macs.get(n, 0)) for n in names}
  return Counts(sum(params.values()), sum(macs.values()), by_module)


def products(jaxpr, weights: int, published: bool = False) -> dict[str, int]:
  """Multiply-accumulates of a jaxpr by module.

  Args:
    jaxpr: whose first `weights` arguments hold no activation.
    weights: how many.
    published: leaves products of two activations out.
  """
  macs: dict[str, int] = {}
  _walk(jaxpr, set(jaxpr.invars[:weights]), 1, "", macs, published)
  return macs


def _walk(jaxpr, weights: set, times: int, scope: str, macs: dict[str, int], published: bool) -> set:
  """Adds the products of a jaxpr to `macs`; `weights` are variables that hold no activation."""
  known = set(weights)
  for eqn in jaxpr.eqns:
    name = _scope(scope, eqn)
    from_weights = [isinstance(v, jex.Literal) or v in known for v in eqn.invars]
    inner = _inner(eqn)
    if inner:
      for sub, operands, factor in inner:
        own = {v for v, o in zip(sub.invars, operands) if isinstance(o, jex.Literal) or o in known}
        own |= set(sub.constvars)
        _walk(sub, own, times * factor, name, macs, published)
    elif eqn.primitive.name in ("dot_general", "conv_general_dilated"):
      if not (published and not any(from_weights)):
        macs[name] = macs.get(name, 0) + times * _products(eqn, published)
    if all(from_weights):
      known.update(eqn.outvars)
  return known


def _inner(eqn) -> list[tuple[Any, list, int]]:
  """(jaxpr, operands, repetitions) of the jaxprs that an equation calls; one branch of a choice."""
  p = eqn.params
  match eqn.primitive.name:
    case "scan":
      return [(p["jaxpr"].jaxpr, list(eqn.invars), p["length"])]
    case "cond":
      return [(p["branches"][-1].jaxpr, list(eqn.invars[1:]), 1)]
    case "while":
      n = p["cond_nconsts"]
      return [(p["body_jaxpr"].jaxpr, list(eqn.invars[n:]), 1)]
  found = []
  for value in p.values():
    sub = getattr(value, "jaxpr", value)
    if hasattr(sub, "eqns"):
      found.append((sub, list(eqn.invars), 1))
  return found[:1]


def _products(eqn, published: bool) -> int:
  out = math.prod(eqn.outvars[0].aval.shape)
  lhs, rhs = (v.aval.shape for v in eqn.invars[:2])
  if eqn.primitive.name == "dot_general":
    (contracted, _), _ = eqn.params["dimension_numbers"]
    return out * math.prod(lhs[i] for i in contracted)
  spec = eqn.params["dimension_numbers"]
  if not published and math.prod(eqn.params["lhs_dilation"]) > 1:  # the zeros between inputs cost nothing
    out = lhs[spec.lhs_spec[0]] * rhs[spec.rhs_spec[0]] * math.prod(lhs[i] for i in spec.lhs_spec[2:])
  return out * math.prod(rhs[i] for i in spec.rhs_spec[1:])  # rhs_spec: (out, in, *spatial)


def _scope(outer: str, eqn) -> str:
  """The path of modules that an equation was traced in, such as 'res2_0/conv1/conv'."""
  text = re.sub(r"\w+\(|\)", "", str(eqn.source_info.name_stack))
  path = []
  for part in filter(None, text.split("/")):
    module, dot, _ = part.partition(".")  # a method other than __call__ is written module.method
    if not (dot and path and path[-1] == module):
      path.append(module)
  return "/".join(path[1:]) or outer


def _add_norms(model, variables, inputs, kwargs, macs: dict[str, int]) -> None:
  """Adds 2 per output element of every batch normalisation."""
  pick = lambda module, method: isinstance(module, (norm.BatchNorm, nn.BatchNorm)) and method == "__call__"
  _, state = jax.eval_shape(
      lambda v, *x: model.apply(v, *x, train=False, capture_intermediates=pick, mutable=["intermediates"], **kwargs),
      variables, *inputs)
  for path, leaf in jax.tree_util.tree_leaves_with_path(state.get("intermediates", {})):
    name = "/".join(str(k.key) for k in path if hasattr(k, "key") and k.key != "__call__")
    macs[name] = macs.get(name, 0) + 2 * math.prod(leaf.shape)
