"""vidx: video understanding in JAX. The public face; everything is imported when it is used."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from vidx.infer.create import create_model as create_model
  from vidx.infer.create import pixels_of as pixels_of
  from vidx.infer.evaluate import evaluate_workdir as evaluate
  from vidx.infer.load import load_checkpoint as load_checkpoint
  from vidx.infer.predict import predict as predict
  from vidx.systems import list_models as list_models
  from vidx.train import train as train

__version__ = "0.1.0"

_FACE = {
    "create_model": ("vidx.infer.create", "create_model"),
    "evaluate": ("vidx.infer.evaluate", "evaluate_workdir"),
    "list_models": ("vidx.systems", "list_models"),
    "pixels_of": ("vidx.infer.create", "pixels_of"),
    "load_checkpoint": ("vidx.infer.load", "load_checkpoint"),
    "predict": ("vidx.infer.predict", "predict"),
    "train": ("vidx.train", ""),  # the package itself, which can be called
}

__all__ = ["__version__", *_FACE]


def __getattr__(name: str):
  if name in _FACE:
    module, attribute = _FACE[name]
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found
  errors = importlib.import_module("vidx.errors")
  raise AttributeError(f"module 'vidx' has no attribute '{name}'{errors.hint(name, _FACE)}; it has {', '.join(_FACE)}")


def __dir__() -> list[str]:
  return sorted(__all__)
