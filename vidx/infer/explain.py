"""What a trained run sees in videos, as maps: what its blocks put into `maps`, and Grad-CAM.

Selvaraju et al.: "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", 2017.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import itertools
import math
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import clips, examples, pipeline
from vidx.data.records import Record
from vidx.infer import kinds as kinds_lib, load, map_arrays, predict
from vidx.infer.kinds import BOXES, GATES, HEARD, HEAT, KEPT, KINDS, SHARES, SIGNED
from vidx.nn import augment, sites as sites_lib

SOUND = "audio."  # before the names of sites that see a spectrogram, in a network that also sees frames
BATCH = 1  # clips at once: of pictures there are few


@dataclasses.dataclass(frozen=True)
class Map:
  """One map of one clip.

  Attributes:
    kind: one of KINDS.
    where: the site that it is of.
    values: fp32, (N, H, W, C) of SIGNED and GATES, (N, K, 5) of BOXES, (N, H, W) of the others; N evenly
      spread over the clip.
    beneath: what it lies on, where that is not the clip: of BOXES the uint8 (N, H, W, 3) that they are in, which
      reach beyond the clip, and of a site of sound its spectrogram, fp32 (1, F, T).
  """

  kind: str
  where: str
  values: np.ndarray
  beneath: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Explained:
  """One video.

  Attributes:
    path: of the file.
    frames: uint8 (T, H, W, 3), the clip as the model sees it, before normalisation; flow `map_arrays.as_colours`;
      None of a model that only hears.
    label: the class that Grad-CAM explains.
    maps: in the order of the kinds asked for, then of the flow through the model.
    flow: whether the model sees optical flow.
    beside: what another run sees in the same video, if anything is to be shown of it.
  """

  path: str
  frames: np.ndarray | None
  label: str
  maps: tuple[Map, ...]
  flow: bool = False
  beside: "Explained | None" = None


@dataclasses.dataclass(frozen=True)
class Visit:
  """One call of a site: its name, its module's path, what leaves it, and which call of all sites it is.

  The shape is () where queries, keys and values leave.
  """

  site: str
  path: tuple[str, ...]
  shape: tuple[int, ...]
  dtype: Any
  number: int


def survey(model, variables: Any, *inputs: Any) -> tuple[list[Visit], Any, Any]:
  """What a model does with inputs, from shapes alone.

  Args:
    model: linen module.
    variables: of the model.
    *inputs: of the model, or their shapes.

  Returns:
    The calls of its sites in the order of the flow, its outputs, and its collection `maps`.
  """
  found, numbers = [], itertools.count()

  def note(site, x):
    number = next(numbers)
    found.append(Visit(site.site, site.path, tuple(getattr(x, "shape", ())), getattr(x, "dtype", None), number))
    return x

  with sites_lib.leaving(note):
    outputs, state = jax.eval_shape(lambda v, *x: model.apply(v, *x, train=False, mutable=["maps"]), variables, *inputs)
  return found, outputs, state.get("maps", {})


def grid(shape: Sequence[int], clip: Sequence[int], patch: int | None) -> tuple[int, int, int] | None:
  """(T', H', W') of features, None where they have no place in space.

  Args:
    shape: (B, T', H', W', C), or tokens (B, G, 1 + N, C), the CLS first, of a model of patches.
    clip: (B, T, H, W, 3), what the model is given.
    patch: side of the model's patches; None: it has none.
  """
  if not shape or shape[0] != clip[0]:
    return None
  if len(shape) == 5:
    return tuple(shape[1:4]) if shape[2] * shape[3] > 1 else None
  if len(shape) != 4 or not patch:
    return None
  places = patches(clip, patch)
  return places if shape[1] * (shape[2] - 1) == math.prod(places) else None


def patches(clip: Sequence[int], patch: int) -> tuple[int, int, int]:
  """(T, H', W') of the patches of a clip (B, T, H, W, 3)."""
  return clip[1], clip[2] // patch, clip[3] // patch


def default_site(seen: Sequence[Visit], clip: Sequence[int], patch: int | None) -> Visit | None:
  """The last call of a site with a grid of features; of tokens, of a block's input: its output is read at the CLS.

  A site of sound only where no other has a grid.
  """
  placed = [v for v in seen if grid(v.shape, clip, patch)]
  placed = [v for v in placed if not v.site.startswith(SOUND)] or placed
  maps = [v for v in placed if len(v.shape) == 5]
  entering = [v for v in placed if v.site.endswith(".in")]
  return next((some[-1] for some in (maps, entering, placed) if some), None)


def on_grid(x: jax.Array, places: tuple[int, int, int]) -> jax.Array:
  """Features as (B, T', H', W', C): the CLS of tokens is left out, patches follow frame by frame."""
  return x if x.ndim == 5 else x[:, :, 1:].reshape(len(x), *places, x.shape[-1])


def weighted(features: jax.Array, gradient: jax.Array) -> jax.Array:
  """Grad-CAM, eq. 1 and eq. 2: relu(sum_c w_c A_c), w_c the mean of dy / dA_c over the clip.

  Args:
    features: (B, T, H, W, C), A.
    gradient: of the class's logit y with respect to the features, same shape.

  Returns:
    fp32 (B, T, H, W), not negative.
  """
  features, gradient = features.astype(jnp.float32), gradient.astype(jnp.float32)
  weights = gradient.mean((1, 2, 3), keepdims=True)
  return jax.nn.relu((weights * features).sum(-1))


def grad_cam(model, variables: Any, *inputs: jax.Array, target: jax.Array, visit: Visit,
             places: tuple[int, int, int]) -> jax.Array:
  """Grad-CAM of each clip at one call of one site.

  The site is perturbed by zero, and the perturbation's gradient taken: the model
  itself stays as it is.

  Args:
    model: linen module that gives 'logits' (B, K).
    variables: of the model.
    *inputs: of the model.
    target: (B,) classes.
    visit: the call of a site, from a `survey` with inputs of these shapes.
    places: its `grid`.

  Returns:
    fp32 (B, T', H', W').
  """

  def logits(perturbation):
    numbers = itertools.count()

    def perturb(site, x):
      if next(numbers) != visit.number:
        return x
      site.sow("features", "x", x)
      return x + perturbation

    with sites_lib.leaving(perturb):
      outputs, state = model.apply(variables, *inputs, train=False, mutable=["features"])
    chosen = jnp.take_along_axis(outputs["logits"], target[:, None], axis=1)
    return chosen.sum(), jax.tree.leaves(state["features"])[0]  # clips do not depend on one another

  gradient, features = jax.grad(logits, has_aux=True)(jnp.zeros(visit.shape, visit.dtype))
  return weighted(on_grid(features, places), on_grid(gradient, places))


def named(sown: Mapping[str, Any], seen: Sequence[Visit], clip: Sequence[int], patch: int | None
          ) -> list[tuple[tuple[str, ...], str, str]]:
  """(path in the collection `maps`, kind, site or module) of what blocks show, in the order of the flow.

  Args:
    sown: the collection; `first`, the attention of the CLS that `nn.Attention` leaves there, is a
      map where the keys are the patches.
    seen: the calls of sites.
    clip: (B, T, H, W, 3), what the model is given.
    patch: side of the model's patches; None: it has none.
  """
  rows = []
  for path, values in traverse_util.flatten_dict(sown).items():
    within = [i for i, v in enumerate(seen) if path[:len(v.path)] == v.path]
    where = seen[within[-1]].site if within else "/".join(path[:-1]) or "model"
    beside = [i for i, v in enumerate(seen) if path[:1] == v.path[:1]]  # of the same step
    kind = path[-1]
    if kind == "first" and patch:
      *places, _, keys = values[-1].shape
      kind = "attention" if math.prod(places[1:]) * (keys - 1) == math.prod(patches(clip, patch)) else kind
    if kind in KINDS:
      rows.append(((within or beside or [-1])[-1], path, kind, where))
  rows = [row[1:] for row in sorted(rows)]
  tokens = [path for path, kind, _ in rows if kind in KEPT and traverse_util.flatten_dict(sown)[path][-1].ndim == 3]
  if tokens:
    groups, first = traverse_util.flatten_dict(sown)[tokens[0]][-1].shape[1:]
    if not patch or groups * (first - 1) != math.prod(patches(clip, patch)):
      rows = [row for row in rows if row[0] not in tokens]
  return rows


class Explainer:
  """Maps of the clips of a run: `Explainer(loaded, kinds)(found)` gives one `Explained` per video.

  Attributes:
    kinds: those that were asked for; of a model that only hears the spectrogram first, as frames are of others.
  """

  def __init__(self, loaded: load.Loaded, kinds: Sequence[str], site: str = ""):
    """Finds out what the model gives; computes nothing.

    Args:
      loaded: the run.
      kinds: of KINDS.
      site: where Grad-CAM looks; '' for `default_site`.

    Raises:
      ConfigError: a kind that is unknown or that the model does not produce, or such a site.
    """
    self.loaded, self.kinds = loaded, tuple(dict.fromkeys(k.strip() for k in kinds if k.strip()))
    kinds_lib.check(self.kinds, "clips")
    data, model = loaded.config.data, loaded.model
    clip = (BATCH, *clips.eval_clip_shape(data))
    self._wanted = batch_lib.wanted(model)
    self._sees = "audio" not in self._wanted or any(map(batch_lib.is_clip, self._wanted))
    sizes = {name: len(labels) for name, labels in loaded.targets.items()}
    shapes = examples.input_shapes(model, data, loaded.dtype, sizes or len(loaded.classes))
    inputs = [jax.ShapeDtypeStruct(clip, loaded.dtype) if batch_lib.is_clip(name) else shape
              for name, shape in zip(self._wanted, shapes)]
    seen, outputs, sown = survey(model, loaded.variables, *inputs)
    patch = getattr(model, "patch", None)
    self._sown = named(sown, seen, clip, patch)
    self._patches = patches(clip, patch) if patch else None
    self._visit, self._places = self._place(seen, clip, patch, site)
    heard = HEARD if "audio" in self._wanted else ()
    given = [*(["input"] if self._sees else []), *heard, *(k for k in KINDS if k in {m[1] for m in self._sown})]
    given += ["gradcam"] if self._visit and hasattr(outputs.get("logits"), "shape") else []
    for kind in self.kinds:
      if kind not in given:
        hears = "" if self._sees else ", which only hears,"
        raise errors.ConfigError(f"--show={kind}: {loaded.config.system.name}{hears}"
                                 f" does not produce it; it produces {', '.join(given)}.")
    if not self._sees:
      self.kinds = tuple(dict.fromkeys((*HEARD, *self.kinds)))
    self._run = jax.jit(self._maps)

  def _place(self, seen: Sequence[Visit], clip: Sequence[int], patch: int | None, site: str
             ) -> tuple[Visit | None, tuple[int, int, int] | None]:
    """The call of a site that Grad-CAM looks at, and its grid."""
    places = {v: grid(v.shape, clip, patch) for v in seen}
    visit = default_site([v for v in seen if v.site == site] if site else seen, clip, patch)
    if site and visit is None:
      names = list(dict.fromkeys(v.site for v in seen if places[v]))
      raise errors.ConfigError(f"--site={site}: no site with a grid of features{errors.hint(site, names)}; those are"
                               f" {', '.join(names) or 'none'}.")
    return visit, places.get(visit)

  def _of_sound(self, where: str) -> bool:
    """Whether a map is of a spectrogram, and not of frames."""
    return not self._sees or where.startswith(SOUND)

  def _maps(self, variables, video, target, **further):
    """(classes (B,), arrays by (kind, site) in the order of the flow).

    `video` is None of a model that only hears, and `further` what else the model takes.
    """
    model, data = self.loaded.model, self.loaded.config.data
    if video is not None:
      key = batch_lib.clip_key(video.shape)
      further["video"] = augment.on_device({key: video}, data.mean, data.std, self.loaded.dtype)[key]
    inputs = batch_lib.inputs(model, further)
    outputs, state = model.apply(variables, *inputs, train=False, mutable=["maps"])
    sown = traverse_util.flatten_dict(state.get("maps", {}))
    wanted = [(path, kind, where) for path, kind, where in self._sown if kind in self.kinds]
    tokens = [path for path, kind, _ in wanted if kind in KEPT and (*path[:-1], "rows") in sown]
    groups = lambda x: x.reshape(len(x), -1, x.shape[-1])  # (B, G, N)
    stages = [tuple(groups(sown[(*path[:-1], name)][-1]) for name in ("kept", "rows")) for path in tokens]
    kept = dict(zip(tokens, map_arrays.kept_places(stages, self._patches) if tokens else ()))

    def shown(path, kind):
      if path[-1] == "first":
        return map_arrays.of_cls(sown[path][-1], self._patches)
      if kind in GATES:
        return map_arrays.tiled(sown[path][-1])
      if kind in SHARES:
        return sown[path][-1][:, :, None, None]
      if kind in KEPT:
        return kept[path] if path in kept else sown[path][-1][:, :, None, None]
      return sown[path][-1]

    laid = lambda x, where: map_arrays.upright(x) if self._of_sound(where) else x
    found = [shown(path, kind) if kind in GATES else laid(shown(path, kind), where) for path, kind, where in wanted]
    if "gradcam" in self.kinds:
      target = jnp.where(target < 0, outputs["logits"].argmax(-1), target)
      heat = grad_cam(model, variables, *inputs, target=target, visit=self._visit, places=self._places)
      found.append(laid(heat, self._visit.site))
    return target, [x.astype(jnp.float32) for x in found]

  @staticmethod
  def _around(record: Record, data: ConfigDict) -> np.ndarray:
    """uint8 (N, H, W, 3): the frames that detections are taken from, as the clip shows its own."""
    cut = clips.Clips(data, timed=True)
    seconds, d = cut.cut(record).seconds[0], data.detections
    return cut.at(record, sum(clips.extent(seconds)) / 2 + (np.arange(d.frames) - (d.frames - 1) / 2) / d.rate)

  def __call__(self, found: Sequence[Mapping[str, Any]]) -> Iterator[Explained]:
    """Maps of the middle view of each video.

    Args:
      found: what `predict` found; Grad-CAM explains the first class of each.

    Yields:
      Videos in the order of `found`, without those that cannot be decoded.
    """
    files = [f["path"] for f in found]
    config, dataset = predict.as_split(self.loaded, files)
    classes = self.loaded.classes
    first = [f["predictions"][0]["label"] if f.get("predictions") else "" for f in found]
    target = np.array([classes.index(name) if name in classes else -1 for name in first], np.int32)
    names = [(kind, where) for _, kind, where in self._sown if kind in self.kinds]
    if "gradcam" in self.kinds:
      names.append(("gradcam", self._visit.site))
    names += [(kind, "audio") for kind in HEARD if kind in self.kinds]
    order = sorted(range(len(names)), key=lambda i: self.kinds.index(names[i][0]))
    batches = pipeline.eval_batches(dataset, config.data, batch_size=BATCH, wanted=self._wanted)
    try:
      for batch in batches:
        video = batch[batch_lib.clip_of(batch)][:, 0] if self._sees else None
        further = {k: batch[k][:, 0] if batch_lib.has_views(k) else batch[k]
                   for k in self._wanted if k in batch and not batch_lib.is_clip(k)}
        chosen, arrays = jax.device_get(self._run(self.loaded.variables, video, target[batch["index"]], **further))
        heard = map_arrays.upright(further["audio"][:, None, ..., 0]) if "audio" in further else None
        if any(kind in HEARD for kind in self.kinds):
          arrays = [*arrays, heard]
        for row in np.flatnonzero(batch["weight"] > 0):
          index = batch["index"][row]
          frames = self._around(dataset.records[index], config.data) if any(k in BOXES for k, _ in names) else None
          flow, values = bool(config.data.flow), [x[row] for x in arrays]
          if flow:
            values = [map_arrays.as_colours(x, 0) if kind in SIGNED and x.shape[-1] == 2 else x
                      for (kind, _), x in zip(names, values)]

          def beneath(i):
            kind, where = names[i]
            if kind in BOXES:
              return map_arrays.middle(frames, len(values[i]))
            return heard[row] if kind in (*HEAT, *KEPT, *SHARES) and self._of_sound(where) else None

          clip = video[row] if self._sees else None
          yield Explained(files[index], map_arrays.as_colours(clip, 128) if flow and self._sees else clip,
                          classes[chosen[row]] if chosen[row] >= 0 else "",
                          tuple(Map(*names[i], values[i], beneath(i)) for i in order), flow)
    finally:
      batches.close()
