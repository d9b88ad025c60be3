import types

from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

from vidx.measure import peak


class Linear(nn.Module):

  @nn.compact
  def __call__(self, video, train=False):
    return {"logits": nn.Dense(5, use_bias=False)(video.mean((1, 2, 3)))}


def devices(kind, count=1):
  return [types.SimpleNamespace(device_kind=kind)] * count


@pytest.mark.parametrize("kind, tera", [
    ("TPU v4", 275), ("TPU v5 lite", 197), ("TPU v5e", 197), ("TPU v5", 459), ("TPU v5p", 459), ("TPU v6 lite", 918),
    ("NVIDIA A100-SXM4-40GB", 312), ("NVIDIA A100 80GB PCIe", 312), ("NVIDIA A100-PCIE-40GB", 312),
    ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756), ("NVIDIA H200", 989.4)])
def test_known_devices(kind, tera):
  assert peak.bf16_flops(kind) == tera * 1e12


@pytest.mark.parametrize("kind", ["cpu", "TPU v4 lite", "TPU v7", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA H100 NVL",
                                  "NVIDIA A10", "NVIDIA H200 NVL"])
def test_other_devices_have_no_figure(kind):
  clip = jax.ShapeDtypeStruct((1, 2, 4, 4, 3), jnp.float32)
  assert peak.bf16_flops(kind) is None and peak.utilization(Linear(), [clip], devices(kind)) is None


def test_utilization_is_six_flops_per_multiply_accumulate_over_the_peak_of_all_devices():
  clip = jax.ShapeDtypeStruct((1, 2, 4, 4, 3), jnp.float32)
  assert peak.utilization(Linear(), [clip], devices("TPU v4", 4)) == pytest.approx(6 * 3 * 5 / (4 * 275e12))
