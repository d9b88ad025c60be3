"""Residual networks: torchvision's images and clips, timm, Hara et al.'s release, TSN and TSM checkpoints."""

from vidx.interop.rules import Rule, aliases, batch_norm, conv, linear, prefixed
from vidx.nn import sites as sites_lib
from vidx.nn.temporal_shift import TemporalShift

_BLOCK = ("layer{i}.{j}", "res{i+1}_{j}")


def _unit(conv_key: str, norm_key: str, path: str) -> list[Rule]:
  """Convolution and batch normalisation of one ConvNormAct."""
  return conv(conv_key, f"{path}/conv") + batch_norm(norm_key, f"{path}/norm")


def _shortcut(shift: str = "") -> list[Rule]:
  key, path = _BLOCK
  return _unit(f"{key}.downsample.0{shift}", f"{key}.downsample.1", f"{path}/shortcut")


def _fc() -> list[Rule]:
  return linear("fc", "head/fc", head=True)


def _plain() -> list[Rule]:
  """The layout of image networks, without the classifier."""
  key, path = _BLOCK
  return (_unit("conv1", "bn1", "stem/conv") + _unit(f"{key}.conv{{k}}", f"{key}.bn{{k}}", f"{path}/conv{{k}}")
          + _shortcut())


def _clips(model) -> list[Rule]:
  """The layout of torchvision's video networks."""
  key, path = _BLOCK
  first = f"{key}.conv{{k}}"
  if model.split:
    stem = _unit("stem.0", "stem.1", "stem/conv/spatial") + _unit("stem.3", "stem.4", "stem/conv/temporal")
    units = (_unit(f"{first}.0.0", f"{first}.0.1", f"{path}/conv{{k}}/spatial")
             + _unit(f"{first}.0.3", f"{first}.1", f"{path}/conv{{k}}/temporal"))
  else:
    stem = _unit("stem.0", "stem.1", "stem/conv")
    units = _unit(f"{first}.0", f"{first}.1", f"{path}/conv{{k}}")
  return stem + units + _shortcut() + _fc()


def torchvision(model) -> list[Rule]:
  """Images and clips; the IG-65M releases have the names of the latter.

  Networks on clips take the names of images' as well, whose kernels can be inflated.
  """
  if model.dims == 2:
    return _plain() + _fc()
  return _clips(model) + ([] if model.split else aliases(_plain()))


def timm(model) -> list[Rule]:
  """The plain networks of timm: no deep stem, no pooling in shortcuts."""
  del model
  return _plain() + _fc()


def kenshohara(model) -> list[Rule]:
  """3D-ResNets-PyTorch; files of its first release have `module.` in front."""
  del model
  rules = _plain() + _fc()
  return rules + aliases(prefixed(rules, key="module."))


def tsm(model) -> list[Rule]:
  """TSM and TSN releases: a shifted convolution is called `net`, the classifier `new_fc`."""
  rules = _unit("conv1", "bn1", "stem/conv") + _shortcut()
  for i, blocks in enumerate(model.stages, start=1):
    for j in range(blocks):
      name = f"res{i + 1}.{j}.branch"
      shifted = any(isinstance(sites_lib.make(f), TemporalShift) for f in sites_lib.plugged(model.sites, name))
      rules += _unit(f"layer{i}.{j}.conv1{'.net' if shifted else ''}", f"layer{i}.{j}.bn1", f"res{i + 1}_{j}/conv1")
  key, path = _BLOCK
  rules += _unit(f"{key}.conv{{k:[23]}}", f"{key}.bn{{k}}", f"{path}/conv{{k}}")
  rules = prefixed(rules, key="base_model.") + linear("new_fc", "head/fc", head=True)
  return prefixed(rules, key="module.") + aliases(rules)
