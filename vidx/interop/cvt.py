"""CvT: microsoft/CvT."""

from collections.abc import Mapping

import numpy as np

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


def without_convolutions(model, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """A state for stages in which the model does not convolve queries, keys and values.

  Of the depth-wise convolution its centre is left, which scales the channels as the
  batch normalisation behind it does; both go into the linear map that follows. The
  network is another then, to be fine-tuned: neighbours are no longer seen.
  """
  state = dict(state)
  for key in [k for k in state if ".conv_proj_" in k and k.endswith(".conv.weight")]:
    if model.convolved[int(key.removeprefix("stage").split(".")[0])]:
      continue
    conv = key.removesuffix(".conv.weight")
    centre = state.pop(key)[:, 0, 1, 1]
    norm = {part: state.pop(f"{conv}.bn.{part}") for part in ("weight", "bias", "running_mean", "running_var")}
    state.pop(f"{conv}.bn.num_batches_tracked", None)
    scale = norm["weight"] / np.sqrt(norm["running_var"] + model.eps)
    linear = conv.replace("conv_proj_", "proj_")
    weight = state[f"{linear}.weight"]
    state[f"{linear}.bias"] = state[f"{linear}.bias"] + weight @ (norm["bias"] - norm["running_mean"] * scale)
    state[f"{linear}.weight"] = weight * (centre * scale)
  return state
