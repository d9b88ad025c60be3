"""What a device can do at most, and which share of it a model's speed is.

Peaks: dense bf16 FLOPs per second of one device as its maker gives them, in the
Cloud TPU documentation ("peak compute per chip") and in NVIDIA's data sheets
of the A100, H100 and H200 (half of the figures "with sparsity").
"""

from collections.abc import Sequence
import re

import jax

from vidx.measure.count import count

PEAKS = {  # by patterns of jax.Device.device_kind
    r"TPU v4": 275e12,
    r"TPU v5 lite|TPU v5e": 197e12,
    r"TPU v5|TPU v5p": 459e12,
    r"TPU v6 lite|TPU v6e": 918e12,
    r"NVIDIA A100([- ](SXM4|PCIE|PCIe|\d+GB))*": 312e12,
    r"NVIDIA H100 80GB HBM3": 989.4e12,
    r"NVIDIA H100 PCIe": 756e12,
    r"NVIDIA H200": 989.4e12,
}


def bf16_flops(device_kind: str) -> float | None:
  """Peak FLOPs per second of one device in bf16; None of a device that is not known."""
  return next((peak for pattern, peak in PEAKS.items() if re.fullmatch(pattern, device_kind)), None)


def utilization(model, inputs: Sequence[jax.ShapeDtypeStruct], devices: Sequence[jax.Device]) -> float | None:
  """Model FLOPs utilization (MFU) of training at one clip per second.

  Chowdhery et al.: "PaLM: Scaling Language Modeling with Pathways", 2022, appendix
  B: the FLOPs that the model needs, 2 per multiply-accumulate and three times those
  of the forward pass, over what the devices can do in bf16. What is computed anew,
  and every precision but bf16, lowers it.

  Args:
    model: linen module.
    inputs: shapes of one clip, batch axis 1.
    devices: all that take part, of one kind.

  Returns:
    A share, 1 at best; None where the devices' peak is not known.
  """
  peak = bf16_flops(devices[0].device_kind)
  return None if peak is None else 6 * count(model, *inputs).macs / (peak * len(devices))
