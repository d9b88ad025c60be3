"""Multiply-accumulates of single examples where samplers leave each as much as it needs.

A model is followed from sampler to sampler (see Trunk.pieces) by shapes alone, with
arrays as long as an example has live entries: what an executor without any padding
would compute.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
from typing import Any

from flax import linen as nn
import jax
import numpy as np

from vidx.measure.count import products
from vidx.nn import compaction, conv, sites as sites_lib
from vidx.nn.attention import Heads


def _dropped(given: Any, left: Any, given_mask: Any, mask: Any) -> Any:
  """Which entries are live where a site's blocks dropped some, else None."""
  if isinstance(left, Heads):
    return left.live if left.live is not given.live else None
  return mask if mask is not given_mask else None


def at_samplers(change):
  """A context in which change(site, entries live) -> number to keep, or None, sees every site that drops entries."""

  def intercept(call, args, kwargs, context):
    y = call(*args, **kwargs)
    if not isinstance(context.module, sites_lib.Site) or context.method_name != "__call__":
      return y
    bound = dict(zip(("x", "mask", "train"), args)) | kwargs
    x, mask = y
    live = _dropped(bound["x"], x, bound.get("mask"), mask)
    if live is None:
      return y
    size = change(context.module.site, live)
    if size is None:
      return y
    cut = lambda a: jax.lax.slice_in_dim(a, 0, size, axis=live.ndim - 1)
    if isinstance(x, Heads):
      q = cut(x.q) if x.fused is None else x.q  # all tokens are queries where some are fused
      return x.replace(q=q, rows=cut(x.rows), live=cut(x.live)), mask
    return cut(x), cut(mask)

  return nn.intercept_methods(intercept)


def live_count(live: jax.Array) -> jax.Array:
  """(B, ..., N) bool -> (B,) int32, entries that hold all live ones of the longest group of an example."""
  return compaction.length(live.astype(bool)).reshape(live.shape[0], -1).max(-1)


@contextlib.contextmanager
def counting() -> Iterator[dict[str, jax.Array]]:
  """A context that gives a dict, in which every sampler leaves its `live_count` by site."""
  found: dict[str, jax.Array] = {}
  with at_samplers(lambda site, live: found.__setitem__(site, live_count(live))):
    yield found


def live_counts(model: nn.Module, variables: Any, *inputs: jax.Array, **kwargs: Any
                ) -> tuple[Any, dict[str, jax.Array]]:
  """A model's outputs, and how many entries each of its samplers left; can be jitted.

  Args:
    model: a trunk with samplers at its sites.
    variables: of the model.
    *inputs: of the model.
    **kwargs: of the model's call.

  Returns:
    outputs, {site: (B,) int32, of the longest group where an example has several}.
  """
  with counting() as found:
    outputs = model.apply(variables, *inputs, **kwargs)
  return outputs, found


@dataclasses.dataclass(frozen=True)
class _Shapes:
  """Shapes and dtypes of a tree of arrays, as something that can be looked up."""

  leaves: tuple[tuple[tuple[int, ...], Any], ...]
  tree: Any

  @classmethod
  def of(cls, arrays: Any) -> "_Shapes":
    leaves, tree = jax.tree.flatten(arrays)
    return cls(tuple((leaf.shape, leaf.dtype) for leaf in leaves), tree)

  def structs(self) -> Any:
    return jax.tree.unflatten(self.tree, [jax.ShapeDtypeStruct(*leaf) for leaf in self.leaves])

  def dims(self) -> list[int]:
    return [size for shape, _ in self.leaves for size in shape]

  def resized(self, dims: Sequence[int]) -> "_Shapes":
    dims, leaves = iter(dims), []
    for shape, dtype in self.leaves:
      leaves.append((tuple(int(next(dims)) for _ in shape), dtype))
    return _Shapes(tuple(leaves), self.tree)


def _powers(lengths: np.ndarray) -> np.ndarray:
  """Monomials of degree 0 to 2 of the columns (N, D) that vary, each taken once: (N, M)."""
  columns = np.unique(lengths, axis=1)
  columns = columns[:, (columns != columns[:1]).any(0)]
  columns = np.concatenate([np.ones((len(lengths), 1)), columns / np.maximum(columns.max(0, initial=1), 1)], 1)
  i, j = np.triu_indices(columns.shape[1])
  return columns[:, i] * columns[:, j]


class LiveMacs:
  """`LiveMacs(model, input shapes of one example)(counts)` gives the multiply-accumulates of every example.

  What has been traced once is remembered. A segment in which many lengths occur is
  traced for some of them; where a polynomial of degree 2 in the lengths before and
  after its samplers gives exactly these figures, it gives the others, too.

  Attributes:
    places: the sites at which entries are dropped, in the order of the flow.
  """

  def __init__(self, model: nn.Module, *inputs: jax.ShapeDtypeStruct):
    """Args: model; inputs of one example, their batch axis 1."""
    self._model = model
    with conv.using("native"):
      key = jax.random.PRNGKey(0)
      self._variables = jax.eval_shape(lambda *x: model.init(key, *x, train=False), *inputs)
      self._entered = _Shapes.of(jax.eval_shape(lambda v, *x: model.apply(v, *x, method=lambda m, *x: m.enter(*x)),
                                                self._variables, *inputs))
      self.segments, self._within = self._cuts()
    self._trace = functools.cache(self._traced)
    self.places = tuple(site for sites in self._within for site in sites)

  @functools.cached_property
  def dense(self) -> int:
    """Multiply-accumulates where nothing is dropped."""
    return int(self({site: [np.iinfo(np.int32).max] for site in self.places})[0])

  def _cuts(self):
    """[(first piece, piece behind the last)] of segments that end where entries are dropped; the sites in each."""
    ends, within, here = [0], [], []

    def keep(site, live):
      here.append(site)

    def walk(m, ways):
      for i, (_, piece) in enumerate(m.pieces()):
        ways = piece(ways, False)
        if here:
          ends.append(i + 1)
          within.append(tuple(here))
          here.clear()
      return ways

    with at_samplers(keep):
      jax.eval_shape(lambda v, w: self._model.apply(v, w, method=walk), self._variables, self._entered.structs())
    return list(zip(ends, [*ends[1:], None])), [*within, ()]

  def __call__(self, counts: Mapping[str, Any]) -> np.ndarray:
    """(N,) int64 for counts {site: (N,)}, as `live_counts` gives them, of all `places`."""
    missing = [site for site in self.places if site not in counts]
    if missing:
      raise ValueError(f"counts of {', '.join(missing)} are needed")
    given = {site: np.asarray(counts[site]).astype(np.int64) for site in self.places}
    examples = len(next(iter(given.values()))) if given else 1
    total, states = np.zeros(examples, np.int64), [self._entered] * examples
    for segment, sites in zip(self.segments, self._within):
      keys = [(state, tuple((site, int(given[site][n])) for site in sites)) for n, state in enumerate(states)]
      known = self._all(segment, list(dict.fromkeys(keys)))
      total += np.asarray([known[key][0] for key in keys])
      states = [known[key][1] for key in keys]
    return total

  def _all(self, segment, keys):
    """{key: (MACs, what leaves)} of one segment for (what enters, cuts), by tracing or by a polynomial."""
    lengths = np.asarray([[*state.dims(), *(size for _, size in cuts)] for state, cuts in keys], float)
    powers = _powers(lengths)
    enough = powers.shape[1] + 4  # more than the polynomial has coefficients, to prove it
    if len(keys) > 2 * enough:
      some = np.sort(np.random.default_rng(0).choice(len(keys), enough, replace=False))
      traced = [self._trace(segment, *keys[n]) for n in some]
      figures = np.asarray([[macs, *left.dims()] for macs, left in traced], float)
      fitted = np.rint(powers @ np.linalg.lstsq(powers[some], figures, rcond=None)[0])
      if np.array_equal(fitted[some], figures):
        return {key: (int(row[0]), traced[0][1].resized(row[1:].astype(int))) for key, row in zip(keys, fitted)}
    return {key: self._trace(segment, *key) for key in keys}

  def _traced(self, segment, state, cuts):
    """(MACs, what leaves) of a segment for one example."""
    sizes = dict(cuts)

    def walk(m, ways):
      start, stop = segment
      ways = m.walk(ways, False, start, stop)
      return m.leave(ways) if stop is None else ways

    with conv.using("native"), at_samplers(lambda site, live: min(sizes[site], live.shape[-1])):
      jaxpr, out = jax.make_jaxpr(lambda v, w: self._model.apply(v, w, method=walk), return_shape=True)(
          self._variables, state.structs())
    return sum(products(jaxpr.jaxpr, len(jax.tree.leaves(self._variables))).values()), _Shapes.of(out)
