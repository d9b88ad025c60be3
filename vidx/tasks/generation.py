"""Generation: images made against critics, two objectives over parameters that do not overlap.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5. Systems give the
terms of both sides (see vidx/systems/disentangle.py). As printed, critics would maximise the cross
entropy of clips; here they minimise it, as the text wants, and so does the generator for its images.
"""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vidx import errors
from vidx.metrics import generation
from vidx.tasks import base

CRITIC = "critic/"  # in front of the names of the critics' terms
_PATTERNS = {"generator": r"^(?!critic_|perception/)", "critic": r"^critic_"}


@dataclasses.dataclass(frozen=True)
class Generation(base.Task):
  """The weighted sums of the terms that a system gives for its generator and for its critics.

  Attributes:
    weights: {term: factor}, 1 where not given; of the critics' terms with 'critic/' in front.
  """

  weights: Mapping[str, float] | Sequence[tuple[str, float]] = ()

  best_metric: ClassVar[str] = "psnr"
  headlines: ClassVar[tuple[str, ...]] = ("l1", "colour")
  targets: ClassVar[Mapping[str, bool]] = {}

  def __post_init__(self):
    pairs = self.weights.items() if isinstance(self.weights, Mapping) else self.weights
    object.__setattr__(self, "weights", tuple((name, float(weight)) for name, weight in pairs))  # hashable

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    """The generator's for all that is no critic, the critics' for them; networks of `perception` stay as they are."""
    return tuple(base.Objective(side, lambda outputs, batch, side=side: self._terms(outputs, side), pattern,
                                labelled=False) for side, pattern in _PATTERNS.items())

  def _terms(self, outputs, side):
    if side not in outputs:
      raise errors.ConfigError("task 'generation' needs a system that makes images, such as disentangle.")
    names = [*outputs["generator"], *(CRITIC + name for name in outputs["critic"])]
    weights = dict(self.weights)
    for name in weights:
      if name not in names:
        raise errors.ConfigError(f"task.weights names '{name}'{errors.hint(name, names)}; the system has the terms"
                                 f" {', '.join(names)}.")
    terms = {CRITIC * (side == "critic") + name: value for name, value in outputs[side].items()}
    return sum(weights.get(name, 1.0) * value for name, value in terms.items()), terms

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Of evaluation: mean absolute difference of the image from the target, in units of 0..1."""
    apart = jnp.abs(outputs["image"] - batch["video"][:, 2].astype(jnp.float32)).mean((1, 2, 3)) / 2
    return apart, {"l1": apart}

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'image', 'identity', 'pose', 'target'}: uint8 (B, H, W, 3)."""
    seen = batch["video"].astype(jnp.float32)
    return {key: as_bytes(x) for key, x in zip(("image", "identity", "pose", "target"),
                                               (outputs["image"], seen[:, 0], seen[:, 1], seen[:, 2]))}

  def merge(self, key: str) -> str:
    """There is one view."""
    del key
    return "first"

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """'psnr' in dB, 'l1' and 'colour' in percent of the range; see vidx/metrics/generation.py."""
    apart = generation.image_errors(predictions["image"], predictions["target"])
    return {name: float(values.mean()) for name, values in apart.items()}

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """{'psnr', 'l1', 'colour'} of one triplet."""
    del dataset, top
    apart = generation.image_errors(predictions["image"][row:row + 1], predictions["target"][row:row + 1])
    return {name: float(values[0]) for name, values in apart.items()}


def as_bytes(image: jax.Array) -> jax.Array:
  """Images in -1..1 as uint8."""
  return jnp.clip(jnp.round((image + 1) * 127.5), 0, 255).astype(jnp.uint8)
