import json

from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

import vidx
from vidx import errors
from vidx.measure import count, models

CLIP = jax.ShapeDtypeStruct((2, 8, 224, 224, 3), jnp.float32)


class Mixed(nn.Module):
  """A convolution, an attention product, a scan over a linear layer, a linear layer, a batch norm."""

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.Conv(8, (3, 3), strides=2, feature_group_count=2, name="conv")(x)
    x = nn.BatchNorm(use_running_average=True, name="norm")(x).reshape(x.shape[0], -1, 8)
    x = x + jnp.einsum("bqc,bkc,bkd->bqd", x, x, x, optimize=False)
    w = self.param("w", nn.initializers.ones, (8, 8))
    x, _ = jax.lax.scan(lambda c, _: (c @ w, None), x, length=5)
    return nn.Dense(10, name="fc")(x)


def test_products_are_counted_by_hand():
  c = count(Mixed(), jax.ShapeDtypeStruct((3, 8, 8, 4), jnp.float32))
  conv = 3 * 4 * 4 * 8 * 9 * 2
  attention = 2 * 3 * 16 * 16 * 8
  scan = 5 * 3 * 16 * 8 * 8
  head = 3 * 16 * 8 * 10
  assert c.macs == conv + attention + scan + head
  assert c.params == (9 * 2 * 8 + 8) + 16 + 64 + 90
  assert c.by_module["conv"] == (9 * 2 * 8 + 8, conv) and c.by_module["fc"] == (90, head)


def test_the_published_convention_leaves_attention_out_and_counts_norms():
  inputs = jax.ShapeDtypeStruct((3, 8, 8, 4), jnp.float32)
  attention, norm = 2 * 3 * 16 * 16 * 8, 2 * 3 * 4 * 4 * 8
  assert count(Mixed(), inputs, convention="published").macs == count(Mixed(), inputs).macs - attention + norm

  model = vidx.create_model("tsm_r50", num_classes=400)
  elements = 8 * (112 * 112 * 64 + 3 * 56 * 56 * (64 + 64 + 256) + 56 * 56 * 256
                  + 56 * 56 * 128 + 28 * 28 * (7 * 128 + 4 * 512 + 512)
                  + 28 * 28 * 256 + 14 * 14 * (11 * 256 + 6 * 1024 + 1024)
                  + 14 * 14 * 512 + 7 * 7 * (5 * 512 + 3 * 2048 + 2048))
  one = jax.ShapeDtypeStruct((1, *CLIP.shape[1:]), jnp.float32)
  true, published = count(model, one), count(model, one, convention="published")
  assert published.macs - true.macs == 2 * elements
  with pytest.raises(ValueError, match="convention"):
    count(model, one, convention="flops")


def test_modules_add_up_to_the_whole():
  model = vidx.create_model("r2plus1d_18")
  c = count(model, jax.ShapeDtypeStruct((1, 16, 112, 112, 3), jnp.float32))
  assert sum(p for p, _ in c.by_module.values()) == c.params == 31_505_325
  assert sum(m for _, m in c.by_module.values()) == c.macs
  assert c.by_module["res2_0/conv1/spatial/conv"] == (64 * 144 * 9, 16 * 56 * 56 * 64 * 144 * 9)


def test_macs_grow_with_the_batch_and_parameters_do_not():
  model = vidx.create_model("tsm_r50", num_classes=174)
  one = count(model, jax.ShapeDtypeStruct((1, *CLIP.shape[1:]), jnp.float32))
  two = count(model, CLIP)
  assert two.macs == 2 * one.macs and two.params == one.params == 23_864_558


def test_the_table_lists_models_in_three_forms():
  assert "24,327,632" in models.table("tsm_r50")
  assert models.table("tsm_r50", "markdown").splitlines()[1].startswith("| ---")
  row, = json.loads(models.table("tsm_r50", "json"))
  assert row["parameters"] == 24_327_632 and row["GMACs"] == 32.704
  with pytest.raises(errors.ConfigError, match="nearest: 'tsm_r50'"):
    models.table("tsm_r5O")
