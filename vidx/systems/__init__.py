"""Systems by name: a lookup table, and `create_model`, which imports what a name needs."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import fnmatch
import functools
import importlib
import inspect
import numbers
from typing import Any

from vidx import errors
from vidx.backbones import table
from vidx.backbones.table import Row

_TSM = "Lin et al. 2019"
_HUANG = "Huang 2022"
_WANG = "Wang 2021"
_FAYYAZ = "Fayyaz 2024"
_XIAO = "Xiao et al. 2020"
_XIAO_THESIS = "Xiao 2020"
_FEATURES = (1, 2048, 2048)
_CLIP = (1, 8, 224, 224, 3)
_CANDIDATES = (1, 25, 224, 224, 3)
_FRAME = ((1, 1, 337, 600, 3), (1, 1, 300, 4))
_FRAMES = ((1, 7, 337, 600, 3), (1, 7, 300, 4))
_TRIPLES = (1, 8, 3, 256, 256, 3)
_TRIPLET = ((1, 3, 128, 128, 3), (1, 2))
_PHRASES = ((1, 1, 224, 224, 3), (1, 24, 22), (1, 24, 22), (1, 24))
_CLIP_64 = (1, 64, 224, 224, 3)
_DEEP = dict(stages=(3, 4, 6, 3), block="bottleneck")
_SHARES = {"dropout": errors.Range(0, 1, below=True), "drop_path": errors.Range(0, 1, below=True)}  # that are dropped


def _atfr(trunk: str) -> Row:
  inputs = ((1, 32, 256, 256, 3),) if trunk == "i3d_r50" else table.ROWS[trunk].inputs
  return Row("vidx.systems.atfr:atfr", dict(trunk=trunk), _FAYYAZ, inputs)


def _ats(trunk: str, rule: str = "inverse", **fields: Any) -> Row:
  """Samples by the inverse of the CDF (eq. 7.5) unless `rule` is the 'nearest' score of the text below it."""
  of = table.ROWS[trunk]
  fields = dict(trunk=trunk, num_classes=of.fields.get("num_classes", 1000), rule=rule, **fields)
  return Row("vidx.systems.ats:ats", fields, _FAYYAZ, of.inputs, of.weights)


def _stc(trunk: str, **fields: Any) -> Row:
  return Row("vidx.systems.stc:stc", dict(trunk=trunk, **fields), _FAYYAZ, table.ROWS[trunk].inputs)


def _saoa(trunk: str, **fields: Any) -> Row:
  detections = ((1, 60, 2048), (1, 60, 4), (1, 60)) if fields.get("align_noun") != "none" else ()
  return Row("vidx.systems.saoa:saoa", dict(trunk=trunk, **fields), _WANG, (_CLIP_64, *detections))


def _avslowfast(trunk: str, mels: int, **fields: Any) -> Row:
  clip = table.ROWS[trunk].inputs[0]
  sound = (1, 128 * clip[1] // 32, mels, 1)
  return Row("vidx.systems.avslowfast:avslowfast", dict(trunk=trunk, **fields), _XIAO,
             (clip, sound, (1,), sound, (1,), (1,)))


def _ava(depth: int, sound: bool) -> Row:
  """Scores boxes of people on AVA (section 4.4): the last stage does not stride space; deep ones have NL blocks."""
  trunk = "slowfast_r50_4x16" if depth == 50 else "slowfast_r101_8x8" if sound else "slowfast_r101_8x8_50_50"
  fields = dict(trunk=trunk, num_classes=80, boxes=True, avs=(), crop=0, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
  if depth == 101:
    fields.update(non_local=((4, 6), (4, 13), (4, 20)), non_local_pool=(2, 2, 2))
  if not sound:
    fields.update(streams="sight", fs_stages=(1, 1, 1, 1))
  heard = ((1, 128, 40, 1), (1,)) if sound else ()
  return Row("vidx.systems.avslowfast:avslowfast", fields, _XIAO if sound else "Feichtenhofer et al. 2019",
             ((1, 32, 256, 320, 3), *heard, (1, 1, 4)), "" if sound else "pyslowfast")


def _t2vlad(experts: Mapping[str, tuple[int, int]], length: int, source: str = _WANG, **fields: Any
            ) -> Row:
  """Experts are (features, tokens) by name; a text has so many word pieces."""
  tokens = [(1, count, width) for width, count in experts.values()]
  return Row("vidx.systems.t2vlad:t2vlad", dict(experts=tuple(experts), **fields), source,
             ((1, length), (1, length), *tokens, *(shape[:2] for shape in tokens)), "Hugging Face (text)")


_MSRVTT = {"ocr": (300, 30), "face": (512, 30), "rgb": (2048, 51), "flow": (1024, 49), "s3d": (1024, 30),
           "scene": (2208, 31), "speech": (300, 112), "audio": (128, 31)}
_LSMDC = {name: (_MSRVTT[name][0], 30) for name in ("rgb", "audio", "ocr", "scene", "flow", "s3d")}
_MMT = {name: (_MSRVTT[name][0], 30) for name in ("face", "ocr", "rgb", "s3d", "scene", "speech", "audio")}
_CE = {"audio": "vlad", "ocr": "vlad", "speech": "vlad"}  # of the other experts the mean
_ACTIVITYNET = {name: (_MSRVTT[name][0], 100) for name in ("s3d", "audio")}


SYSTEMS: dict[str, Row] = {
    "avslowfast_r50_4x16": _avslowfast("slowfast_r50_4x16", 80),
    "avslowfast_r50_8x8": _avslowfast("slowfast_r50_8x8", 80),
    "avslowfast_r101_8x8": _avslowfast("slowfast_r101_8x8", 40),
    "avslowfast_r101_16x8_nl": _avslowfast("slowfast_r101_16x8", 40, non_local=((4, 6), (4, 13), (4, 20))),
    "avslowfast_ava": _ava(50, True),
    "avslowfast_ava_r101": _ava(101, True),
    "slowfast_ava": _ava(50, False),
    "slowfast_ava_r101": _ava(101, False),
    **{f"ats_{trunk}": _ats(trunk) for trunk in (
        "deit_ti", "deit_s", "deit_b", "cvt_13", "cvt_21", "psvit_b14", "psvit_b18", "xvit_b16", "timesformer_b",
        "timesformer_l", "timesformer_hr", "timesformer_joint")},
    "ats_public": _ats("deit_s", keep=196, value_norm="concat", rule="nearest", grid="public", order="score",
                       oversample=True),
    # 2.155 GMACs where every sampler keeps all that it may; printed is a mean of 2.5 (table 7.3).
    "ats_evit": _ats("deit_s", stages=(4, 5, 7, 8, 10, 11), keep=0.7, fused=(3, 6, 9)),
    "evit": _ats("deit_s", stages=(), fused=(3, 6, 9)),
    **{f"atfr_{trunk}": _atfr(trunk) for trunk in (
        "resnet3d_slim_18", "resnet3d_slim_50", "r2plus1d_18", "r2plus1d_bottleneck_18", "r2plus1d_bottleneck_50",
        "i3d_r50", "x3d_s", "x3d_m", "x3d_l", "x3d_xl", "slowfast_r18_8x8", "slowfast_r50_4x16", "slowfast_r50_8x8")},
    **{f"hatnet_{d}": Row("vidx.systems.hatnet:HATNet", fields, _FAYYAZ, (table.CLIP,))
       for d, fields in ((18, {}), (50, _DEEP))},
    "hatnet_stc_18": Row("vidx.systems.hatnet:HATNet", dict(stc=True), _FAYYAZ, (table.CLIP,)),
    **{f"atfr_hatnet_{d}": Row("vidx.systems.atfr:atfr", dict(trunk=f"hatnet_{d}"), _FAYYAZ, (table.CLIP,))
       for d in (18, 50)},
    "bqn": Row("vidx.systems.bqn:bqn", {}, _HUANG, (_TRIPLES,)),
    "bqn_x3d_m": Row("vidx.systems.bqn:bqn", dict(trunk="x3d_m", shared_head=False, deep_size=7, crop=256), _HUANG,
                     ((1, 16, 3, 256, 256, 3),)),
    "represented": Row("vidx.systems.represented:represented", {}, _HUANG, (_CLIP,)),
    "mbpm": Row("vidx.systems.represented:represented", dict(representation="band_pass"), _HUANG, (_TRIPLES,)),
    "tesnet": Row("vidx.systems.tesnet:tesnet", {}, _HUANG, ((1, 10, 299, 299, 3),)),
    "dan": Row("vidx.systems.dan:dan", {}, _HUANG, ((1, 64, 224, 224, 3),)),
    "tsn": Row("vidx.systems.tsn:tsn", {}, "Wang et al. 2016", (_CLIP,), "mit-han-lab"),
    "tsm": Row("vidx.systems.tsm:tsm", {}, _TSM, (_CLIP,), "mit-han-lab"),
    "tsm_r50": Row("vidx.systems.tsm:tsm", dict(trunk="resnet_50"), _TSM, (_CLIP,), "mit-han-lab"),
    "tsm_mobilenet_v2": Row("vidx.systems.tsm:tsm", dict(trunk="mobilenet_v2"), _TSM, (_CLIP,), "mit-han-lab"),
    "tsm_r101": Row("vidx.systems.tsm:tsm", dict(trunk="resnet_101"), _TSM, (_CLIP,), "mit-han-lab"),
    "psn": Row("vidx.systems.psn:psn", {}, _WANG, (_CANDIDATES,)),
    "psn_r50": Row("vidx.systems.psn:psn", dict(trunk="resnet_50", keep=6), _WANG, (_CANDIDATES,)),
    "psn_r152": Row("vidx.systems.psn:psn", dict(trunk="resnet_152"), _WANG, (_CANDIDATES,)),
    "saoa": _saoa("resnet3d_50"),
    "saoa_i3d": _saoa("i3d"),
    "sap": _saoa("resnet3d_50", align_verb="global"),
    "ipl": Row("vidx.systems.ipl:ipl", {}, _WANG, (_CLIP_64,)),
    "ipl_r2plus1d_34": Row("vidx.systems.ipl:ipl", dict(trunk="r2plus1d_34"), _WANG, ((1, 32, 112, 112, 3),)),
    "t2vlad": _t2vlad(_MSRVTT, 37),
    "t2vlad_lsmdc": _t2vlad(_LSMDC, 30),
    "t2vlad_activitynet": _t2vlad(_ACTIVITYNET, 100, centres=16),
    "captioner": Row("vidx.systems.captioner:Captioner", {}, _FAYYAZ, (
        (1, 28), (1, 20, 2048), (1, 20, 1024), (1, 20), (1, 20), (1,))),
    "pos_generator": Row("vidx.systems.captioner:POSGenerator", {}, "Wang et al. 2019", (
        (1, 28), (1, 20, 2048), (1, 20, 1024), (1, 20), (1, 20))),
    "mee": _t2vlad(_MSRVTT, 37, "Miech et al. 2018", use_local=False),
    "ce": _t2vlad(_MSRVTT, 37, "Liu et al. 2019", use_local=False, centres=28, mixing="gates",
                  temporal_agg={**dict.fromkeys(_MSRVTT, "mean"), **_CE}),
    "mmt": _t2vlad(_MMT, 30, "Gabeur et al. 2020", use_local=False, global_text="cls", embed=512,
                   mixing="transformer"),
    "gap": Row("vidx.systems.gap:gap", {}, "baseline", (_CLIP_64,)),
    "ms_tcn": Row("vidx.systems.ms_tcn:MSTCN", {}, "Farha and Gall 2019", (_FEATURES,)),
    "sct": Row("vidx.systems.sct:SCT", {}, _FAYYAZ, (_FEATURES,)),
    "sct_public": Row("vidx.systems.sct:SCT", dict(
        tap=4, interpolation="nearest", positives_only=True, reduce="sum", sparsity="l1_weighted",
        background_weight=0.001), _FAYYAZ, (_FEATURES,)),
    "mucon": Row("vidx.systems.mucon:MuCon", {}, _FAYYAZ, (_FEATURES,)),
    "mucon_public": Row("vidx.systems.mucon:MuCon", dict(
        consistency="mean", public_smoothing=True, length_in="x", public_overlap=True, corner="align", infer="grid",
        length_target="softmax", two_biases=True, initial="uniform"), _FAYYAZ, (_FEATURES,)),
    "uniform_split": Row("vidx.systems.baselines:WeakFrames", {}, "baseline", (_FEATURES,)),
    "soft_boundaries": Row("vidx.systems.baselines:WeakFrames", dict(insertions=4), "Ding and Xu 2018", (_FEATURES,)),
    "length_dp": Row("vidx.systems.baselines:WeakFrames", dict(realign=True), "Richard et al. 2018", (_FEATURES,)),
    "forward_loss": Row("vidx.systems.baselines:WeakFrames", dict(realign=True, contrast="hard"), "Li et al. 2019",
                        (_FEATURES,)),
    "rnl": Row("vidx.systems.attention_nets:rnl", {}, _HUANG, (_CLIP,)),
    "cpa": Row("vidx.systems.attention_nets:cpa", {}, _HUANG, (_CLIP,)),
    "nonlocal": Row("vidx.systems.attention_nets:nonlocal_net", {}, "Wang et al. 2018", (_CLIP,)),
    "stc": _stc("resnet3d_101"),
    "stc_resnext101": _stc("resnext3d_101"),
    "disentangle": Row("vidx.systems.disentangle:Disentangle", {}, "Xiao 2020", _TRIPLET),
    "pix2pixhd": Row("vidx.systems.image_baselines:Pix2PixHD", {}, "Wang et al. 2018", _TRIPLET),
    "drnet": Row("vidx.systems.image_baselines:DrNet", {}, "Denton and Birodkar 2017", _TRIPLET),
    "image_embedding": Row("vidx.systems.image_embedding:image_embedding", dict(trunk="resnet_50"), "Xiao 2020",
                           (_TRIPLET[0],)),
    "fusion_image": Row("vidx.systems.image_baselines:FusionImage", {}, "Joo et al. 2018", _TRIPLET),
    "rfcn": Row("vidx.systems.stmn:rfcn", {}, "Dai et al. 2016", _FRAME),
    "fast_rcnn_vgg16": Row("vidx.systems.stmn:fast_rcnn_vgg16", {}, "Girshick 2015", _FRAME),
    "stmn": Row("vidx.systems.stmn:stmn", {}, _XIAO_THESIS, _FRAMES),
    "stmn_vgg16": Row("vidx.systems.stmn:stmn", dict(base="fast_rcnn_vgg16"), _XIAO_THESIS, _FRAMES),
    "language_model": Row("vidx.systems.language_model:LanguageModel", {}, _XIAO_THESIS, ((1, 22), (1, 22))),
    "grounding": Row("vidx.systems.grounding:grounding", {}, _XIAO_THESIS, _PHRASES, "torchvision (trunk)"),
    "transfer": Row("vidx.systems.transfer:transfer", {}, _FAYYAZ, (table.CLIP, (1,))),
    "stc_densenet121": _stc("densenet3d_121", placement="after"),
    "channel_gate": Row("vidx.systems.attention_nets:channel_gated", {}, "Hu et al. 2018", (_CLIP,)),
}


def rows() -> dict[str, Row]:
  """All names of `create_model`."""
  return {**table.ROWS, **SYSTEMS}


def list_models(pattern: str = "*") -> list[str]:
  """The names that match a glob pattern, sorted."""
  return sorted(fnmatch.filter(rows(), pattern))


def create_model(name: str, **fields: Any):
  """A system or trunk with the given fields; those not given have their published values.

  Args:
    name: one of `list_models()`.
    **fields: see the docstring of what the name stands for. In `sites` (a mapping,
      or (pattern, block) pairs) a block may be the name of one in `vidx.nn`, or a
      mapping {'name': ..., field: value}, so that a config can be written as JSON.

  Returns:
    A linen module, called as model.apply(variables, video, train=...).

  Raises:
    ConfigError: an unknown name or field, a number of classes or a share to drop that is none, or sites that the trunk
      has not.
  """
  if str(name) not in rows():
    raise errors.ConfigError(
        f"unknown model '{name}'{errors.hint(str(name), rows())}; `vidx models` lists all {len(rows())}.")
  row = rows()[name]
  fields = {**row.fields, **{k: _fixed(v) for k, v in fields.items()}}
  if "sites" in fields:
    fields["sites"] = _blocks(fields["sites"])
  known = field_names(name, fields.get("trunk"))
  for field in fields:
    if field not in known:
      raise errors.ConfigError(
          f"{name} has no field '{field}'{errors.hint(field, known)}; its fields are {', '.join(known)}.")
  classes = fields.get("num_classes", 0)
  if not all(isinstance(n, numbers.Integral) and n >= 0 for n in getattr(classes, "values", lambda: [classes])()):
    raise errors.ConfigError(f"{name}: num_classes={classes!r} is no whole number, and none for each head.")
  errors.check_ranges(fields, _SHARES, f"{name}: ")
  from vidx.nn import sites
  try:
    model = _load(row.factory)(**fields)
    sites.check(getattr(model, "sites", {}), model.site_names())
  except ValueError as e:
    raise errors.ConfigError(f"{name}: {e}.") from None
  return model


def of_clips(model: Any, name: str, fields: Mapping[str, Any]) -> Any:
  """The model of a name, such that a network of clips takes none without the axis of the batch for images."""
  shape = rows()[name].inputs[0] if name in rows() else ()
  clips = len(shape) == 5 and shape[1] > 1
  return _without_stills(model) if clips and "stills" not in fields else model


def _without_stills(model: Any) -> Any:
  """A module whose trunks take no images without an axis of frames: itself, and those that it is made of."""
  changed = {"stills": False} if getattr(model, "stills", False) else {}
  for field in dataclasses.fields(model):
    part = getattr(model, field.name, None)
    if dataclasses.is_dataclass(part) and hasattr(part, "site_names"):
      changed[field.name] = _without_stills(part)
  return model.clone(**changed) if any(value is not getattr(model, k) for k, value in changed.items()) else model


def block(field: str, make: Callable[..., Any], *args: Any, **fields: Any) -> Any:
  """make(*args, **fields), where `fields` are the mapping of a system's `field`; a ValueError names a wrong one."""
  try:
    return make(*args, **fields)
  except TypeError as e:
    raise ValueError(f"{field}: {e}") from None


def at_crop(name: str, fields: Mapping[str, Any], crop: int, activation: str = "softmax") -> dict[str, Any]:
  """The fields of a model trained on crops of so many pixels, which heads that see windows of them have to know.

  Args:
    name: of the system.
    fields: those that were given, which stay.
    crop: of training, in pixels.
    activation: of the task, by which scores of several windows are averaged.
  """
  trunk = fields.get("trunk") or rows()[name].fields.get("trunk") if name in rows() else None
  windowed = any(other in rows() and rows()[other].fields.get("crop") for other in (name, trunk))
  average = {"average": "sigmoids"} if activation == "sigmoid" else {}
  return {"crop": crop, **average, **fields} if windowed else dict(fields)


def inputs_of(model: Any, name: str, shapes: Sequence[Sequence[int]] = ()) -> list[tuple[int, ...]]:
  """Shapes of the published inputs, or those given, at the frames and the size of images that a model was made for."""
  made = lambda field: value if isinstance(value := getattr(model, field, 0), numbers.Integral) else 0
  side, frames = made("image"), made("frames")
  found = []
  for shape in shapes or rows()[name].inputs:
    shape = tuple(shape)
    if len(shape) in (4, 5) and shape[-1] == 3:
      shape = (*shape[:-3], side or shape[-3], side or shape[-2], 3)
      shape = (shape[0], frames or shape[1], *shape[2:]) if len(shape) == 5 else shape
    found.append(shape)
  return found


def trunk_of(name: str, fields: Mapping[str, Any] = {}) -> str | None:
  """The name of the trunk that a system with these fields stands on; None of what is a trunk itself."""
  parameters = inspect.signature(_load(rows()[name].factory)).parameters
  if "trunk" not in parameters:
    return None
  trunk = {**rows()[name].fields, **fields}.get("trunk", parameters["trunk"].default)
  return trunk if isinstance(trunk, str) else None


def own_fields(name: str) -> list[str]:
  """The fields of a model but for those that it passes on to its trunk."""
  return [p.name for p in inspect.signature(_load(rows()[name].factory)).parameters.values()
          if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in ("parent", "name")]


def default_of(name: str, field: str) -> Any:
  """The value of a field that is not given; `inspect.Parameter.empty` where it has none."""
  row = rows()[name]
  if field in row.fields:
    return row.fields[field]
  if field in own_fields(name):
    return inspect.signature(_load(row.factory)).parameters[field].default
  return default_of(trunk_of(name), field)


def field_names(name: str, trunk: str | None = None) -> list[str]:
  """The fields of a model, those that it passes on to its trunk included.

  Raises:
    ConfigError: an unknown trunk.
  """
  parameters = inspect.signature(_load(rows()[name].factory)).parameters
  names = own_fields(name)
  if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
    trunk = trunk_of(name, {"trunk": trunk} if trunk else {})
    if trunk is not None and trunk not in rows():
      raise errors.ConfigError(f"{name}: unknown trunk '{trunk}'{errors.hint(trunk, rows())}; `vidx models` lists all.")
    if trunk is not None:
      names += [n for n in field_names(trunk) if n not in names]
  return names


def _load(factory: str):
  module, _, attribute = factory.partition(":")
  return getattr(importlib.import_module(module), attribute)


def _fixed(value: Any) -> Any:
  """Lists as tuples, so that a module can be hashed."""
  if isinstance(value, (list, tuple)):
    return tuple(_fixed(v) for v in value)
  if isinstance(value, Mapping):
    return {k: _fixed(v) for k, v in value.items()}
  return value


def _blocks(sites: Any) -> dict[str, Any]:
  """`sites` with every named block as its factory."""
  from vidx import nn

  def factory(block):
    if isinstance(block, str):
      block = {"name": block}
    if isinstance(block, tuple):
      return tuple(map(factory, block))
    if not isinstance(block, Mapping):
      return block
    fields = dict(block)
    name = fields.pop("name", "")
    if not inspect.isclass(getattr(nn, name, None)):
      blocks = [n for n in dir(nn) if inspect.isclass(getattr(nn, n))]
      raise errors.ConfigError(
          f"sites: '{name}' is no block of vidx.nn{errors.hint(name, blocks)}; it has {', '.join(blocks)}.")
    return functools.partial(getattr(nn, name), **fields) if fields else getattr(nn, name)

  return {pattern: factory(block) for pattern, block in dict(sites).items()}
