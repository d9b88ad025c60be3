"""Video networks of pytorchvideo and PySlowFast: ResNets, SlowFast, X3D.

PySlowFast's older files have Caffe2's names; those are read as well, never written.
"""

from vidx.interop.rules import Rule, aliases, batch_norm, conv, drop, linear, pointwise


def _unit(key: str, norm: str, path: str) -> list[Rule]:
  """A ConvNormAct."""
  return conv(key, f"{path}/conv") + batch_norm(norm, f"{path}/norm")


def _blob_norm(key: str, path: str) -> list[Rule]:
  return [Rule(f"{key}_{k}", f"{kind}/{path}/norm/{v}") for k, kind, v in (
      ("s", "params", "scale"), ("b", "params", "bias"), ("rm", "batch_stats", "mean"), ("riv", "batch_stats", "var"))]


def _blob_unit(key: str, norm: str, path: str) -> list[Rule]:
  return [Rule(f"{key}_w", f"params/{path}/conv/kernel", "conv"), *_blob_norm(norm, path)]


# ---------------------------------------------------------------- pytorchvideo


def _block(key: str, path: str, split: bool = False) -> list[Rule]:
  """A residual block of pytorchvideo."""
  out = _unit(f"{key}.branch1_conv", f"{key}.branch1_norm", f"{path}/shortcut")
  for i, letter in enumerate("abc", start=1):
    where = f"{key}.branch2.conv_{letter}", f"{key}.branch2.norm_{letter}", f"{path}/conv{i}"
    if split and letter == "b":
      first = f"{where[0]}.conv_t", f"{where[0]}.norm", f"{where[2]}/temporal"
      out += _unit(*first) + _unit(f"{where[0]}.conv_xy", where[1], f"{where[2]}/spatial")
    else:
      out += _unit(*where)
  return out


def resnet(model) -> list[Rule]:
  """C2D, I3D, SlowOnly and R(2+1)D of pytorchvideo; a pooling after a stage counts as a block."""
  out, at = _unit("blocks.0.conv", "blocks.0.norm", "stem/conv"), 1
  for i in range(len(model.stages)):
    out += _block(f"blocks.{at}.res_blocks.{{j}}", f"res{i + 2}_{{j}}", bool(model.split))
    at += 1 + (model.time_pools[i] > 1)
  return out + linear(f"blocks.{at}.proj", "head/fc", head=True)


def slowfast(model) -> list[Rule]:
  """SlowFast of pytorchvideo."""
  stages = len(model.stages)
  out = []
  for p, way in enumerate(("slow", "fast")):
    part = f"multipathway_blocks.{p}"
    out += _unit(f"blocks.0.{part}.conv", f"blocks.0.{part}.norm", f"{way}/stem/conv")
    out += _block(f"blocks.{{i}}.{part}.res_blocks.{{j}}", f"{way}/res{{i+1}}_{{j}}")
  for end in model.lateral_ends():
    part = f"blocks.{_number(end) - 1}.multipathway_fusion"
    out += _unit(f"{part}.conv_fast_to_slow", f"{part}.norm", f"lateral_{end}/conv")
  return out + linear(f"blocks.{stages + 2}.proj", "head/fc", head=True)


def _number(end: str) -> int:
  """How PySlowFast counts the stem and the stages: 1, 2, ..."""
  return int(end.removeprefix("res")) if end != "stem" else 1


def x3d(model) -> list[Rule]:
  """X3D of pytorchvideo, whose stem calls the convolution over space conv_t and the one over time conv_xy."""
  last = f"blocks.{len(model.stages) + 1}"
  key, path = "blocks.{i}.res_blocks.{j}", "res{i+1}_{j}"
  squeeze = _squeeze(f"{key}.branch2.norm_b.1.block.0", f"{key}.branch2.norm_b.1.block.2", path)
  return (conv("blocks.0.conv.conv_t", "stem/spatial") + conv("blocks.0.conv.conv_xy", "stem/temporal/conv")
          + batch_norm("blocks.0.norm", "stem/temporal/norm")
          + _shortcut(f"{key}.branch1_conv", f"{key}.branch1_norm", path)
          + _unit(f"{key}.branch2.conv_a", f"{key}.branch2.norm_a", f"{path}/conv1")
          + _unit(f"{key}.branch2.conv_b", f"{key}.branch2.norm_b.0", f"{path}/conv2") + squeeze
          + _unit(f"{key}.branch2.conv_c", f"{key}.branch2.norm_c", f"{path}/conv3")
          + _unit(f"{last}.pool.pre_conv", f"{last}.pool.pre_norm", "conv5/conv")
          + pointwise(f"{last}.pool.post_conv", "hidden") + linear(f"{last}.proj", "head/fc", head=True))


def _squeeze(first: str, second: str, path: str) -> list[Rule]:
  return pointwise(first, f"{path}/se/fc1") + pointwise(second, f"{path}/se/fc2")


def _shortcut(key: str, norm: str, path: str) -> list[Rule]:
  """With normalisation where the number of channels changes, else without."""
  return _unit(key, norm, f"{path}/shortcut") + conv(key, f"{path}/shortcut")


# ---------------------------------------------------------------- PySlowFast


def _pathway(p: int, path: str = "") -> list[Rule]:
  """A pathway's stem and blocks in PySlowFast's names."""
  stem, key = f"s1.pathway{p}_stem", f"s{{i}}.pathway{p}_res{{j}}"
  out = _unit(f"{stem}.conv", f"{stem}.bn", f"{path}stem/conv")
  out += _unit(f"{key}.branch1", f"{key}.branch1_bn", f"{path}res{{i}}_{{j}}/shortcut")
  for i, letter in enumerate("abc", start=1):
    out += _unit(f"{key}.branch2.{letter}", f"{key}.branch2.{letter}_bn", f"{path}res{{i}}_{{j}}/conv{i}")
  return out


def _blobs(prefix: str = "", path: str = "") -> list[Rule]:
  """A pathway's stem and blocks in Caffe2's names."""
  key = f"{prefix}res{{i}}_{{j}}_branch"
  out = _blob_unit(f"{prefix}conv1", f"{prefix}res_conv1_bn", f"{path}stem/conv")
  out += _blob_unit(f"{key}1", f"{key}1_bn", f"{path}res{{i}}_{{j}}/shortcut")
  for i, letter in enumerate("abc", start=1):
    out += _blob_unit(f"{key}2{letter}", f"{key}2{letter}_bn", f"{path}res{{i}}_{{j}}/conv{i}")
  return out


def _blob_end() -> list[Rule]:
  return aliases([Rule("pred_w", "params/head/fc/kernel", "linear", head=True),
                  Rule("pred_b", "params/head/fc/bias", head=True)]) + drop(
                      "{what:.*_momentum|lr|model_iter}", "state of the optimiser")


def pyslowfast_resnet(model) -> list[Rule]:
  """C2D, I3D and SlowOnly of PySlowFast."""
  del model
  return _pathway(0) + linear("head.projection", "head/fc", head=True) + aliases(_blobs()) + _blob_end()


def pyslowfast_slowfast(model) -> list[Rule]:
  """SlowFast of PySlowFast, with non-local operations where it has some."""
  old = _blobs("", "slow/") + _blobs("t_", "fast/")
  for end in model.lateral_ends():
    i = _number(end)
    blob = f"t_res{i}_{model.stages[i - 2] - 1}_branch2c_bn_subsample" if i > 1 else "t_pool1_subsample"
    old += _blob_unit(blob, f"{blob}_bn", f"lateral_{end}/conv")
  return _two_pathways(model) + linear("head.projection", "head/fc", head=True) + aliases(old) + _blob_end()


def _two_pathways(model, norm: str = "bn", part: str = "") -> list[Rule]:
  """What SlowFast has of PySlowFast but the head; `norm` is what laterals call their normalisation."""
  out = _pathway(0, f"{part}slow/") + _pathway(1, f"{part}fast/")
  for end in model.lateral_ends():
    fuse = f"s{_number(end)}_fuse"
    out += _unit(f"{fuse}.conv_f2s", f"{fuse}.{norm}", f"{part}lateral_{end}/conv")
  for stage, block in model.non_local:
    key, path = f"s{stage}.pathway0_nonlocal{block}", f"{part}slow/res{stage}_{block}/at_out/NonLocal_0"
    out += [rule for name in ("theta", "phi", "g") for rule in conv(f"{key}.conv_{name}", f"{path}/{name}")]
    out += conv(f"{key}.conv_out", f"{path}/out/conv") + batch_norm(f"{key}.bn", f"{path}/out/norm")
  return out


def _image_unit(key: str, norm: str, path: str) -> list[Rule]:
  """A ConvNormAct on single frames, which spectrograms are."""
  return [Rule(f"{key}.weight", f"params/{path}/conv/kernel", "image"), *batch_norm(norm, f"{path}/norm")]


def pyslowfast_avslowfast(model) -> list[Rule]:
  """AVSlowFast as its authors published it for PySlowFast; only with sound added to the slow pathway.

  Without sound it is SlowFast, also that of people in boxes.
  """
  out = linear("head.projection", "head/fc", head=True)
  out += _two_pathways(model.sight, "bn" if model.sound is None else "bn_f2s", "sight/")
  if model.sound is None:
    return out
  stem, key, path = "s1.pathway2_stem", "s{i}.pathway2_res{j}", "sound/res{i}_{j}"
  out += [Rule(f"{stem}.conv_{k}.weight", f"params/sound/stem/conv_{k}/kernel", "image") for k in "tf"]
  out += batch_norm(f"{stem}.bn", "sound/stem/norm") + _image_unit(f"{key}.branch1", f"{key}.branch1_bn",
                                                                    f"{path}/shortcut")
  forms = {"tf_v1": dict(t="conv_t", f="conv_f", out="out"), "plain": {},
           "tf_v2": dict(a="conv1", b_t="conv_t", b_f="conv_f", c="out")}
  for names in (forms[model.sound.audio_block], dict(a="conv1", b="conv2", c="conv3")):
    for name, own in names.items():
      out += _image_unit(f"{key}.branch2.{name}", f"{key}.branch2.{name}_bn", f"{path}/{own}")
  for end in dict.fromkeys((*model.fused(), *model.avs)):
    fuse = f"s{_number(end)}_fuse"
    if end not in (*model.sight.lateral_ends(), *model.fused()):
      out += _unit(f"{fuse}.conv_f2s", f"{fuse}.bn_f2s", f"lateral_{end}")
    for i in range(2):
      out += _image_unit(f"{fuse}.conv_a2fs_{i}", f"{fuse}.bn_a2fs_{i}", f"fuse_{end}/conv{i + 1}")
    if end in model.avs:
      out += linear(f"{fuse}.avs.ref_fc", f"avs_{end}/reference") + linear(f"{fuse}.avs.query_fc", f"avs_{end}/query")
  return out


def pyslowfast_x3d(model) -> list[Rule]:
  """X3D of PySlowFast."""
  del model
  stem, key, path = "s1.pathway0_stem", "s{i}.pathway0_res{j}", "res{i}_{j}"
  return (conv(f"{stem}.conv_xy", "stem/spatial") + _unit(f"{stem}.conv", f"{stem}.bn", "stem/temporal")
          + _shortcut(f"{key}.branch1", f"{key}.branch1_bn", path)
          + _unit(f"{key}.branch2.a", f"{key}.branch2.a_bn", f"{path}/conv1")
          + _unit(f"{key}.branch2.b", f"{key}.branch2.b_bn", f"{path}/conv2")
          + _squeeze(f"{key}.branch2.se.fc1", f"{key}.branch2.se.fc2", path)
          + _unit(f"{key}.branch2.c", f"{key}.branch2.c_bn", f"{path}/conv3")
          + _unit("head.conv_5", "head.conv_5_bn", "conv5/conv") + pointwise("head.lin_5", "hidden")
          + linear("head.projection", "head/fc", head=True))
