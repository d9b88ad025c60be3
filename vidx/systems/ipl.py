"""IPL: the classifier's verb prototypes group the positions of the clip from which the noun is read.

Wang: "Collaborative Dual-Stream Modeling for Video Understanding", 2021, chapter 4.
"""

from collections.abc import Mapping
from typing import Any

from flax import core
from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import systems
from vidx.nn import choices, pool
from vidx.nn.cosine_classifier import CosineClassifier, prototype_init, unit
from vidx.nn.rank_weighting import FORMS, RankWeighting, top_classes
from vidx.nn.soft_assign_vlad import SoftAssignVLAD
from vidx.systems.saoa import TASKS, check_tasks

PROTOTYPES = ("shared", "independent")
SELECTIONS = ("predicted", "with_label")
RESIDUALS = ("raw", "unit")


class InteractiveHead(nn.Module):
  """Verbs from the mean of a map, nouns from what the best verbs' prototypes gather; see `ipl` for the fields."""

  verbs: int
  nouns: int
  keep: int = 5
  form: str = "rank"
  background: bool = True
  prototypes: str = "shared"
  select: str = "predicted"
  residual: str = "raw"
  scale: float = 10.0
  learned_scale: bool = True
  stop_grad_assign: bool = False
  stop_grad_residual: bool = False

  @nn.compact
  def __call__(self, x: jax.Array, label: jax.Array | None = None, train: bool = False) -> dict[str, jax.Array]:
    """Scores a map of features.

    Args:
      x: (B, T, H, W, C).
      label: (B,) verbs, where `select` forces them among the best in training.
      train: batch statistics of the weighting.

    Returns:
      {'logits': {'verb', 'noun': (B, classes)}, 'features': (B, C), 'chosen': (B, K) verbs, the best first}.
    """
    z = x.reshape(x.shape[0], -1, x.shape[-1])
    v = pool.mean_pool(x)
    p = self.param("prototypes", prototype_init, (self.verbs, x.shape[-1]))
    classifier = lambda name, classes=0: CosineClassifier(classes, self.scale, self.learned_scale, name=name)
    verb = classifier("verb")(v, p)  # eq. 4.1
    forced = label if train and self.select == "with_label" else None
    chosen = top_classes(verb, min(self.keep, self.verbs), forced)
    vlad = SoftAssignVLAD(self.verbs, self.background, name="group")
    if self.prototypes == "independent":
      groups, a = vlad(z)
      shown = a[..., :self.verbs].sum(-1)
    else:
      residual = unit(p) if self.residual == "unit" else p
      residual = jax.lax.stop_gradient(residual) if self.stop_grad_residual else residual
      # eq. 4.3 to 4.5
      groups, a = vlad(z, centres=p, residual=residual, select=chosen, stop_centres=self.stop_grad_assign)
      shown = jnp.take_along_axis(a, chosen[:, None], -1).sum(-1)
    if self.is_mutable_collection("maps") and not self.is_initializing():
      self.sow("maps", "attention", shown.reshape(x.shape[:4]))
    if self.is_mutable_collection("figures") and not self.is_initializing():
      a = jax.lax.stop_gradient(a)
      self.sow("figures", "assignment_entropy", jax.scipy.special.entr(a).sum(-1).mean())  # 0: each position has one
      self.sow("figures", "background_share", a[..., self.verbs:].sum(-1).mean())
    n = RankWeighting(self.form, name="weighting")(unit(groups), train)
    return {"logits": {"verb": verb, "noun": classifier("noun", self.nouns)(n)}, "features": v, "chosen": chosen}


class InteractivePrototypes(nn.Module):
  """`trunk` gives the map, `head` scores it."""

  trunk: nn.Module
  head: InteractiveHead

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch; verbs are looked at in training where they are forced among the best."""
    return ("video", "label/verb") if self.head.select == "with_label" else ("video",)

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """The sites of the trunk."""
    return self.trunk.site_names()

  def __call__(self, video: jax.Array, label: jax.Array | None = None, train: bool = False) -> dict[str, jax.Array]:
    """(B, T, H, W, C), normalised; verbs (B,) or None -> see InteractiveHead."""
    x, _ = self.trunk.trunk(video, train)
    return self.head(x, label, train)


def ipl(num_classes: Mapping[str, int] = core.FrozenDict(verb=97, noun=300), trunk: str = "i3d", keep: int = 5,
        form: str = "rank", background: bool = True, prototypes: str = "shared", select: str = "predicted",
        residual: str = "raw", scale: float = 10.0, learned_scale: bool = True, stop_grad_assign: bool = False,
        stop_grad_residual: bool = False, sites=None, dtype: Any = None, **fields) -> InteractivePrototypes:
  """Interactive prototype learning.

  Args:
    num_classes: of 'verb' and 'noun'.
    trunk: name of a trunk of clips.
    keep: verbs whose groups the noun is read from, K (Table 4.7).
    form: of f_w, how their groups are weighed by rank; see RankWeighting.
    background: whether a prototype takes what belongs to no verb (Table 4.6).
    prototypes: "shared" with the verbs' classifier, or "independent" centres, of which all groups are
      used, in their order (Table 4.5).
    select: the best verbs as "predicted", or in training "with_label" among them.
    residual: from prototypes as they are, "raw", or of "unit" length.
    scale: 1 / tau of both cosine classifiers, at the start.
    learned_scale: whether they are learned.
    stop_grad_assign: prototypes learn nothing through the assignment.
    stop_grad_residual: nor through the residual.
    sites: blocks to plug in.
    dtype: compute dtype; softmax, lengths, cosines and batch statistics are fp32.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, C) -> {'logits': {'verb', 'noun'}, 'features', 'chosen'}.
  """
  check_tasks(num_classes, TASKS)
  for field, value, known in (("form", form, FORMS), ("prototypes", prototypes, PROTOTYPES),
                              ("select", select, SELECTIONS), ("residual", residual, RESIDUALS)):
    choices.check(field, value, known)
  if not 1 <= keep:
    raise ValueError(f"keep = {keep} verbs are none")
  model = systems.create_model(trunk, num_classes=0, sites=sites or {}, dtype=dtype, **fields)
  head = InteractiveHead(num_classes["verb"], num_classes["noun"], keep, form, background, prototypes, select, residual,
                         scale, learned_scale, stop_grad_assign, stop_grad_residual)
  return InteractivePrototypes(model, head)
