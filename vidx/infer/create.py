"""A model by name, with `pretrained` the weights that were published for it, and the pixels that it expects."""

from collections.abc import Sequence
import math
from typing import Any

from vidx import errors, systems


def create_model(name: str, pretrained: str = "", **fields: Any) -> Any:
  """A system or trunk with the given fields; those not given have their published values.

  Args:
    name: one of `vidx.list_models()`.
    pretrained: '' for a model alone, what its weights learned from ('imagenet', 'kinetics400', 'ssv2', ...), or the
      name of a public checkpoint, such as 'torchvision:r3d_18' (`vidx models --weights` lists them). It is downloaded
      once and kept. Of a system it is the trunk that has weights; whatever has none, such as a head for other classes,
      is initialised.
    **fields: see the docstring of what the name stands for, and `vidx models NAME`.

  Returns:
    A linen module, called as model.apply(variables, video, train=...); with `pretrained`
    (module, variables).

  Raises:
    ConfigError: an unknown name or field, sites that the trunk has not, or no such weights.
    UserError: the weights cannot be got.
    CheckpointError: the named weights are of another architecture.
  """
  model = systems.of_clips(systems.create_model(name, **fields), name, fields)
  if not pretrained:
    return model
  from vidx.interop import pretrained as pretrained_lib
  row = _row(name, pretrained, fields)
  return model, _filled(model, name, row, pretrained_lib.folder_of(row.name))


def pixels_of(name: str, pretrained: str = "", **fields: Any) -> dict[str, tuple]:
  """What images or clips a model expects: bytes x of RGB become (x / 255 - mean) / std (`vidx.nn.augment.normalize`).

  Args:
    name: one of `vidx.list_models()`.
    pretrained: as in `create_model`; '' for a model that is trained anew.
    **fields: of the model.

  Returns:
    {'shape': (1, T, H, W, 3) of a clip or (1, H, W, 3) of an image, as published, 'mean': and 'std': 3 floats in
    units of 0..1, those that the weights were trained with, or what training takes unless told}.

  Raises:
    ConfigError: an unknown name or field, no such weights, or a model that sees no pixels.
  """
  model = create_model(name, **fields)
  shape = systems.inputs_of(model, name)[0]
  if len(shape) < 4 or shape[-1] != 3:
    raise errors.ConfigError(f"{name} sees no pixels: it takes {', '.join(model.inputs)}.")
  from vidx.interop import convert
  from vidx.train import config
  data = config.base().data
  mean, std = getattr(model, "pixels", (data.mean, data.std))
  if pretrained:
    row = _row(name, pretrained, fields)
    mean, std = convert.normalisation(row.model, row.rules)
  shape = shape if len(shape) == 4 else (shape[0], math.prod(shape[1:-3]), *shape[-3:])
  return {"shape": shape, "mean": tuple(mean), "std": tuple(std)}


def _row(name: str, pretrained: str, fields: dict[str, Any]):
  """The public checkpoint that is meant."""
  from vidx.interop import published
  if published.is_name(pretrained):
    return published.find(pretrained)
  for model in names_of(name, fields):
    if row := published.of_model(model, pretrained):
      return row
  known = [r for r in published.ROWS.values() if r.model in names_of(name, fields)]
  if not known:
    raise errors.ConfigError(f"pretrained='{pretrained}': no public weights are known for {name};"
                             " `vidx models --weights` lists those that there are.")
  choices = list(dict.fromkeys([r.dataset for r in known] + [r.name for r in known]))
  raise errors.ConfigError(f"pretrained='{pretrained}' is not one of {', '.join(choices)}"
                           f"{errors.hint(pretrained, choices)}.")


def names_of(name: str, fields: dict[str, Any]) -> Sequence[str]:
  """The model and its trunk, whose weights it can start from."""
  trunk = systems.trunk_of(name, fields)
  return (name, trunk) if trunk else (name,)


def _filled(model: Any, name: str, row: Any, folder: str) -> Any:
  """Variables of a model with all that fits of a converted folder; the rest is initialised."""
  import jax
  import jax.numpy as jnp
  from vidx.train import state, warm_start
  inputs = [jax.ShapeDtypeStruct(s, jnp.float32) for s in systems.inputs_of(model, name)]
  init = lambda *x: model.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, *x, train=False)
  variables, report = warm_start.merge(jax.eval_shape(init, *inputs), warm_start.read_variables(folder),
                                       adopt=getattr(model, "adopt", None))
  if not any(report[how] for how in warm_start.FITTED):
    raise errors.CheckpointError(f"{row.name} is of another architecture than {name}: none of its parameters fits in"
                                 " name and shape.")
  if report["other shape"] or report["not in the checkpoint"]:
    fresh = state.run_once(init)(*[jnp.zeros(x.shape, x.dtype) for x in inputs])
    variables = jax.tree.map(lambda x, new: new if isinstance(x, jax.ShapeDtypeStruct) else x, variables, fresh,
                             is_leaf=lambda x: isinstance(x, jax.ShapeDtypeStruct))
  return jax.tree.map(jnp.asarray, variables)
