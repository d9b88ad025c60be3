"""PS-ViT: yuexy/PS-ViT."""

from vidx.backbones.psvit import start_points
from vidx.interop.rules import Rule, batch_norm, constant, conv, linear, raw, scale_bias


def _block(key: str, path: str) -> list[Rule]:
  return (scale_bias(f"{key}.norm1", f"{path}/norm1") + linear(f"{key}.attn.qkv", f"{path}/attn/qkv")
          + linear(f"{key}.attn.proj", f"{path}/attn/proj") + scale_bias(f"{key}.norm2", f"{path}/norm2")
          + linear(f"{key}.mlp.fc1", f"{path}/mlp/fc1") + linear(f"{key}.mlp.fc2", f"{path}/mlp/fc2"))


def psvit(model) -> list[Rule]:
  """The PS-ViT release; `pos_layer` is there once and again in every sampling step."""
  points = start_points(model.points, model.image // 4)[None]
  bottleneck, block = "stem.{i}", "stem/block{i-4}"
  rules = constant("point_coord", points, "the start grid is computed")
  for key in ("pos_layer", *(f"ps_layers.{i}.position_layer" for i in range(model.samplings))):
    rules += linear(key, "place")
  rules += conv("stem.0", "stem/conv/conv") + batch_norm("stem.1", "stem/conv/norm")
  for n in (1, 2, 3):
    rules += (conv(f"{bottleneck}.conv{n}", f"{block}/conv{n}/conv")
              + batch_norm(f"{bottleneck}.bn{n}", f"{block}/conv{n}/norm"))
  return (rules + conv(f"{bottleneck}.downsample.0", f"{block}/shortcut/conv")
          + batch_norm(f"{bottleneck}.downsample.1", f"{block}/shortcut/norm")
          + _block("ps_layers.{i}.transformer_layer", "sample{i}") + linear("ps_layers.{i}.offset_layer", "offset{i}")
          + _block("trans_layers.{i}", "block{i}") + raw("cls_token", "cls") + scale_bias("norm", "norm")
          + linear("head", "head/fc", head=True))
