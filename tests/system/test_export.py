"""The train step lowers for accelerators that this machine need not have."""

import jax
import jax.export
import jax.numpy as jnp
import pytest

from vidx.data.records import Dataset, Media, Record
from vidx.train import build, config


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_train_step_of_tsm_lowers(precision):
  c = config.base()
  c.system = dict(name="tsm", trunk="resnet_50")
  c.data.update(frames=8, crop=224)
  c.train.update(batch_size=8, precision=precision)
  records = tuple(Record(str(i), Media(str(i)), i % 4) for i in range(64))
  run = build.build(c, Dataset("none", "train", records, tuple("abcd")))
  batch = {"video": jax.ShapeDtypeStruct((8, 8, 224, 224, 3), jnp.uint8),
           "label": jax.ShapeDtypeStruct((8,), jnp.int32),
           "weight": jax.ShapeDtypeStruct((8,), jnp.float32)}
  exported = jax.export.export(run.step(), platforms=["tpu", "cuda"])(run.abstract, batch)
  assert exported.platforms == ("tpu", "cuda")
  assert "convolution" in exported.mlir_module()
