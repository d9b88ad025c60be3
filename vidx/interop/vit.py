"""Vision transformers: timm and DeiT, torchvision, TimeSformer, XViT."""

from vidx.interop.rules import Rule, aliases, conv, drop, linear, prefixed, raw, scale_bias


def _blocks(key: str, path: str) -> list[Rule]:
  """Pre-norm blocks in timm's names."""
  return (scale_bias(f"{key}.norm1", f"{path}/norm1") + linear(f"{key}.attn.qkv", f"{path}/attn/qkv")
          + linear(f"{key}.attn.proj", f"{path}/attn/proj") + scale_bias(f"{key}.norm2", f"{path}/norm2")
          + linear(f"{key}.mlp.fc1", f"{path}/mlp/fc1") + linear(f"{key}.mlp.fc2", f"{path}/mlp/fc2"))


def _trunk() -> list[Rule]:
  return (raw("cls_token", "embed/cls") + raw("pos_embed", "embed/positions", kind="positions")
          + conv("patch_embed.proj", "embed/patch") + _blocks("blocks.{i}", "block{i}") + scale_bias("norm", "norm"))


def timm(model) -> list[Rule]:
  """timm and the DeiT release."""
  del model
  return _trunk() + linear("head", "head/fc", head=True)


def torchvision(model) -> list[Rule]:
  """torchvision; files of before its version 0.13 name the MLP's layers linear_1 and linear_2."""
  del model
  key, path = "encoder.layers.encoder_layer_{i}", "block{i}"
  return (raw("class_token", "embed/cls") + raw("encoder.pos_embedding", "embed/positions", kind="positions")
          + conv("conv_proj", "embed/patch") + scale_bias(f"{key}.ln_1", f"{path}/norm1")
          + [Rule(f"{key}.self_attention.in_proj_weight", f"params/{path}/attn/qkv/kernel", "linear"),
             Rule(f"{key}.self_attention.in_proj_bias", f"params/{path}/attn/qkv/bias")]
          + linear(f"{key}.self_attention.out_proj", f"{path}/attn/proj") + scale_bias(f"{key}.ln_2", f"{path}/norm2")
          + linear(f"{key}.mlp.0", f"{path}/mlp/fc1") + linear(f"{key}.mlp.3", f"{path}/mlp/fc2")
          + aliases(linear(f"{key}.mlp.linear_1", f"{path}/mlp/fc1")
                    + linear(f"{key}.mlp.linear_2", f"{path}/mlp/fc2"))
          + scale_bias("encoder.ln", "norm") + linear("heads.head", "head/fc", head=True))


def timesformer(model) -> list[Rule]:
  """The TimeSformer release."""
  del model
  key, path = "blocks.{i}", "block{i}"
  return prefixed(
      _trunk() + raw("time_embed", "embed/times") + scale_bias(f"{key}.temporal_norm1", f"{path}/temporal_norm")
      + linear(f"{key}.temporal_attn.qkv", f"{path}/temporal_attn/qkv")
      + linear(f"{key}.temporal_attn.proj", f"{path}/temporal_attn/proj")
      + linear(f"{key}.temporal_fc", f"{path}/temporal_fc") + linear("head", "head/fc", head=True), key="model.")


def xvit(model) -> list[Rule]:
  """The XViT release."""
  del model
  unused = "classifiers of single frames, in place of which the temporal head is used"
  return (prefixed(_trunk() + [Rule("temp_embed", "params/embed/times", "times")], key="base_model.")
          + raw("consensus.cls_token", "head/cls")
          + _blocks("consensus.temporal_encoder.{i}", "head/block{i}") + scale_bias("consensus.mlp_head.0", "head/norm")
          + linear("consensus.mlp_head.1", "head/hidden") + linear("consensus.mlp_head.4", "head/fc", head=True)
          + drop("{part:new_fc|base_model\\.head}.{what:weight|bias}", unused))
