"""CvT: microsoft/CvT."""

from vidx.interop.rules import Rule, batch_norm, conv, linear, raw, scale_bias


def cvt(model) -> list[Rule]:
  """The CvT release."""
  del model
  key, path, attn = "stage{s}.blocks.{i}", "block{s}_{i}", "stage{s}.blocks.{i}.attn"
  rules = (conv("stage{s}.patch_embed.proj", "embed{s}/conv") + scale_bias("stage{s}.patch_embed.norm", "embed{s}/norm")
           + raw("stage{s}.cls_token", "embed{s}/cls"))
  for x in "qkv":
    rules += (conv(f"{attn}.conv_proj_{x}.conv", f"{path}/attn/conv_{x}")
              + batch_norm(f"{attn}.conv_proj_{x}.bn", f"{path}/attn/bn_{x}")
              + linear(f"{attn}.proj_{x}", f"{path}/attn/proj_{x}"))
  return (rules + linear(f"{attn}.proj", f"{path}/attn/proj") + scale_bias(f"{key}.norm1", f"{path}/norm1")
          + scale_bias(f"{key}.norm2", f"{path}/norm2") + linear(f"{key}.mlp.fc1", f"{path}/mlp/fc1")
          + linear(f"{key}.mlp.fc2", f"{path}/mlp/fc2") + scale_bias("norm", "norm")
          + linear("head", "head/fc", head=True))
