"""vidx: video understanding in JAX. The public face; everything is imported when it is used."""

import importlib

_FACE = {
    "create_model": "vidx.infer.create",
    "list_models": "vidx.systems",
    "load_checkpoint": "vidx.infer.load",
    "predict": "vidx.infer.predict",
}

__all__ = list(_FACE)


def __getattr__(name: str):
  if name in _FACE:
    return getattr(importlib.import_module(_FACE[name]), name)
  raise AttributeError(f"module 'vidx' has no attribute '{name}'")


def __dir__() -> list[str]:
  return sorted(__all__)
