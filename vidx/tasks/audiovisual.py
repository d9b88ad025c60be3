"""Sight and sound without labels: how clips were turned, and whether sound belongs to the time that they show.

Xiao, Lee, Grauman, Malik, Feichtenhofer: "Audiovisual SlowFast Networks for Video
Recognition", 2020, section 5.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors
from vidx.tasks import base

IN_STEP = 0.5  # distances below are called in step
OWN, OTHER = "distance/own", "distance/other"


@dataclasses.dataclass(frozen=True)
class Audiovisual(base.Task):
  """Takes the outputs 'turn' and 'turned', 'distance' and 'distance_neg', and the system's losses.

  Attributes:
    rotation: whether quarter turns are told.
    sync: whether in-step sound is.
  """

  rotation: bool = True
  sync: bool = True

  best_metric: ClassVar[str] = "in step"
  headlines: ClassVar[tuple[str, ...]] = ("turns",)
  targets: ClassVar[Mapping[str, bool]] = {}

  def __post_init__(self):
    if not (self.rotation or self.sync):
      raise errors.ConfigError("task.rotation and task.sync are both off: there is nothing to learn.")
    if not self.sync:
      object.__setattr__(self, "best_metric", "turns")
      object.__setattr__(self, "headlines", ())

  def loss(self, outputs: base.Outputs, batch: base.Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Softmax cross entropy of the four turns in fp32, and what the system adds."""
    terms = {}
    if self.rotation:
      if "turn" not in outputs:
        raise errors.ConfigError("task 'audiovisual' tells turns: set system.rotation=True or task.rotation=False.")
      logits = outputs["turn"].astype(jnp.float32)
      terms["turns"] = optax.softmax_cross_entropy_with_integer_labels(logits, outputs["turned"].astype(jnp.int32))
    labelled = self.labelled(batch)
    total, terms = base.with_system_losses(outputs, terms, labelled)
    return total + jnp.zeros_like(labelled), terms

  def predict(self, outputs: base.Outputs, batch: base.Batch) -> dict[str, jax.Array]:
    """{'turn': probability of the right turn (B,)}, and the mean distances over stages to own and other sound with
    'tells' (B,), 1 where both can be heard and differ."""
    del batch
    found = {}
    if self.rotation:
      chances = jax.nn.softmax(outputs["turn"].astype(jnp.float32))
      found["turn"] = jnp.take_along_axis(chances, outputs["turned"].astype(jnp.int32)[:, None], 1)[:, 0]
      found["turned right"] = (chances.argmax(-1) == outputs["turned"]).astype(jnp.float32)
    if self.sync:
      if "distance_neg" not in outputs:
        raise errors.ConfigError("task 'audiovisual' compares sound: set system.score_sync=True or"
                                 " task.sync=False.")
      mean = lambda key: sum(outputs[key].values()) / len(outputs[key])
      found |= {OWN: mean("distance"), OTHER: mean("distance_neg"), "tells": outputs["tells"]}
    return found

  def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """'in step', percent of own and displaced sounds on the right side of 1/2, both apart, 'closer', of pairs whose own
    sound is closer, and 'turns', of turns that are told; nan where there is none."""
    share = lambda hits: 100 * float(np.mean(hits)) if len(hits) else float("nan")
    found = {}
    if self.sync:
      tells = predictions["tells"] > 0
      own, other = predictions[OWN][tells], predictions[OTHER][tells]
      found = {"in step": share(np.concatenate([own < IN_STEP, other > IN_STEP])), "own sound": share(own < IN_STEP),
               "other sound": share(other > IN_STEP), "closer": share(own < other)}
    if self.rotation:
      found["turns"] = share(predictions["turned right"] > 0.5)
    return found

  def describe(self, predictions: Mapping[str, np.ndarray], row: int, dataset: Any, top: int = 5) -> dict[str, Any]:
    """{'distance': to its own sound, 'turn': probability of the right turn}."""
    del dataset, top
    found = {"distance": float(predictions[OWN][row])} if self.sync else {}
    return found | ({"turn": float(predictions["turn"][row])} if self.rotation else {})
