"""Sites: the named places of a trunk into which blocks are plugged.

A trunk lists its sites without being run (`site_names`). `sites={'res[34].*.out':
RegionNonLocal}` plugs blocks in: glob patterns over site names (`*` also crosses
dots), to a factory or a sequence of them. A factory is called without arguments
and gives a block, a linen module or function called as block(x, train=train); a
plain function that takes x is itself the block. A block returns x, or (x, mask)
where it changes which frames are live; one whose call takes `mask` is given it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import fnmatch
import inspect
from typing import Any

from flax import core
from flax import linen as nn
from flax import traverse_util
import jax

from vidx.nn import tracing

Factory = Callable[..., Any]
Sites = Mapping[str, Factory | Sequence[Factory]]


def check(sites: Sites, names: Sequence[str]) -> None:
  """Raises ValueError for a pattern that matches none of the names."""
  for pattern in sites:
    if not fnmatch.filter(names, pattern):
      raise ValueError(f"sites pattern '{pattern}' matches no site; the sites are {', '.join(names)}")


def plugged(sites: Sites, name: str) -> tuple[Factory, ...]:
  """The factories for one site, in the order of the patterns."""
  found = []
  for pattern, factories in sites.items():
    if fnmatch.fnmatchcase(name, pattern):
      found += factories if isinstance(factories, (tuple, list)) else [factories]
  return tuple(found)


def merge(*many: Sites) -> Sites:
  """One hashable mapping to tuples; where patterns are equal, earlier blocks come first."""
  out = {}
  for sites in many:
    for pattern, factories in sites.items():
      out[pattern] = (*out.get(pattern, ()),
                      *(factories if isinstance(factories, (tuple, list)) else [factories]))
  return core.FrozenDict(out)


def make(factory: Factory) -> Callable:
  """A block from what a site was given."""
  if inspect.isfunction(factory):
    needed = [p for p in inspect.signature(factory).parameters.values()
              if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if needed:
      return factory
  return factory()


class Site(nn.Module):
  """One site: the blocks plugged into it, one after the other; nothing where there are none.

  Attributes:
    site: its name in the trunk.
    blocks: factories.
  """

  site: str
  blocks: tuple[Factory, ...] = ()

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array | None = None, train: bool = False
               ) -> tuple[jax.Array, jax.Array | None]:
    for factory in self.blocks:
      block = make(factory)
      takes = inspect.signature(block.__call__ if isinstance(block, nn.Module) else block).parameters
      given = dict(train=train, mask=mask)
      y = block(x, **{k: v for k, v in given.items() if k in takes})
      x, mask = y if isinstance(y, tuple) else (y, mask)
    return x, mask


@dataclasses.dataclass(frozen=True)
class Prefixed:
  """Sites whose names start with a prefix that the steps of a trunk do not know."""

  sites: Sites
  prefix: str = ""


Placed = Sites | Prefixed


def at(sites: Placed, site: str, name: str | None = None) -> Site:
  """The module of a site, for a trunk's setup, or called `name` for a step's compact call."""
  if isinstance(sites, Prefixed):
    sites, site = sites.sites, sites.prefix + site
  return Site(site, plugged(sites, site), name=name)


def within(step: str, sites: Placed) -> Callable[[str], Site]:
  """part -> the module of the site 'step.part', for a step's compact call."""
  return lambda part: at(sites, f"{step}.{part}", f"at_{part}")


def share(make: Callable[[Sites], nn.Module], sites: Sites) -> nn.Module:
  """make(sites) for one of several networks, with the patterns that match a site of its own alone."""
  names = make({}).site_names()
  return make({pattern: factories for pattern, factories in sites.items() if fnmatch.filter(names, pattern)})


def taps(model: nn.Module, variables: Any, *inputs: jax.Array, sites: Sequence[str], **kwargs: Any
         ) -> tuple[Any, dict[str, jax.Array]]:
  """The outputs of a model and what leaves several sites of its trunk, blocks plugged there included, in one pass.

  Args:
    model: a trunk, or a system that holds one.
    variables: of the model.
    *inputs: of the model.
    sites: names of sites.
    **kwargs: of the model's call.

  Returns:
    What the call gives, and {site: (B, T, H, W, C)} as the trunk has it there. Under
    `jax.jit` nothing that goes unused is computed.

  Raises:
    ValueError: a site that the model has not.
  """
  for site in sites:
    if site not in model.site_names():
      raise ValueError(f"'{site}' is not a site; the sites are {', '.join(model.site_names())}")
  at = {}  # path of the module -> site

  def wanted(module, method):
    found = isinstance(module, Site) and module.site in sites and method == "__call__"
    if found:
      at[module.path] = module.site
    return found

  with tracing.traced_for(""):
    outputs, state = model.apply(variables, *inputs, **kwargs, capture_intermediates=wanted, mutable=["intermediates"])
  left = traverse_util.flatten_dict(state["intermediates"])
  return outputs, {at[path[:-1]]: calls[0][0] for path, calls in left.items() if path[:-1] in at}


def features(model: nn.Module, variables: Any, *inputs: jax.Array, site: str, **kwargs: Any) -> jax.Array:
  """What leaves one site, as `taps` has it: (B, T, H, W, C)."""
  return taps(model, variables, *inputs, sites=(site,), **kwargs)[1][site]


@contextlib.contextmanager
def leaving(change: Callable[[Site, jax.Array], jax.Array]) -> Iterator[None]:
  """A context in which every site of every model called gives change(site, x) in place of x, in the order of the flow.

  Lets you observe or perturb a site of an existing model without rebuilding it. Plugged
  blocks come before `change`; nothing else is changed.
  """

  def intercept(call, args, kwargs, context):
    y = call(*args, **kwargs)
    if isinstance(context.module, Site) and context.method_name == "__call__":
      return change(context.module, y[0]), y[1]
    return y

  with tracing.traced_for(""), nn.intercept_methods(intercept):  # sites see clips as they are, in no platform's form
    yield
