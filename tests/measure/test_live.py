import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from vidx.measure.count import count
from vidx.measure.live import LiveMacs, live_counts
from vidx.nn import compaction

CLIP = jax.ShapeDtypeStruct((1, 16, 16, 16, 3), jnp.float32)
TINY = dict(num_classes=3, stages=(1, 1), width=4)
TRUNKS = {  # the second's cost is no polynomial: it halves time
    "resnet3d_slim_18": dict(TINY, widths=(4, 8), temporal=(3, 3)),
    "r2plus1d_bottleneck_18": TINY,
}


@functools.cache
def measured(trunk):
  return LiveMacs(vidx.create_model(f"atfr_{trunk}", **TRUNKS[trunk]), CLIP)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_an_example_costs_what_a_network_of_its_length_does(trunk):
  """A network that always keeps so many frames, and the sampler itself."""
  macs = measured(trunk)
  assert macs.places == ("res2",)
  lengths = [3, 16, 3, 7]
  sampler = sum(cost for name, (_, cost) in count(vidx.create_model(f"atfr_{trunk}", **TRUNKS[trunk]), CLIP)
                .by_module.items() if "SimilarityGuidedSampling" in name)
  plain = {n: count(vidx.create_model(f"atfr_{trunk}", **TRUNKS[trunk], control="uniform", keep=n), CLIP).macs
           for n in set(lengths)}
  np.testing.assert_array_equal(macs({"res2": lengths}), [plain[n] + sampler for n in lengths])
  assert macs.dense == plain[16] + sampler


@pytest.mark.parametrize("trunk", TRUNKS)
def test_many_lengths_cost_what_each_alone_does(trunk):
  together = measured(trunk)({"res2": np.arange(1, 17)})
  alone = [measured(trunk)({"res2": [n]})[0] for n in (1, 7, 16)]
  np.testing.assert_array_equal(together[[0, 6, 15]], alone)


class FirstTokens(nn.Module):
  """Keeps the first tokens, as many as `keep` says; the array stays as long."""

  keep: tuple[int, ...]
  cut: bool = False

  @nn.compact
  def __call__(self, heads):
    size = max(self.keep) if self.cut else heads.q.shape[-3]
    rows = jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32), (*heads.q.shape[:-3], size))
    live = rows < jnp.asarray(self.keep).reshape(-1, *[1] * (rows.ndim - 1))
    return heads.replace(q=compaction.take(heads.q, rows, axis=rows.ndim - 1), rows=rows, live=live)


def test_tokens_cost_what_a_transformer_with_so_many_does():
  fields = dict(num_classes=3, dim=8, depth=2, heads=2, image=16, patch=4)
  at = lambda cut, *keep: vidx.create_model("deit_ti", **fields, sites={
      f"block{i}.heads": functools.partial(FirstTokens, k, cut) for i, k in enumerate(keep)})
  clip = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
  macs = LiveMacs(at(False, (9,), (9,)), clip)
  assert macs.places == ("block0.heads", "block1.heads")
  assert macs.dense == count(vidx.create_model("deit_ti", **fields), clip).macs
  found = macs({"block0.heads": [11, 17], "block1.heads": [5, 2]})
  np.testing.assert_array_equal(found, [count(at(True, (11,), (5,)), clip).macs,
                                        count(at(True, (17,), (2,)), clip).macs])
  first, second = (n.ravel() for n in np.meshgrid(np.arange(11, 18), [2, 5, 8]))
  many = macs({"block0.heads": first, "block1.heads": second})
  assert many[(first == 11) & (second == 5)] == found[0] and many[(first == 17) & (second == 2)] == found[1]


def test_live_counts_are_those_of_every_sampler_and_example():
  model = vidx.create_model("deit_ti", num_classes=3, dim=8, depth=2, heads=2, image=16, patch=4, sites={
      "block0.heads": functools.partial(FirstTokens, (7, 3)), "block1.out": lambda x: x})
  images = jnp.ones((2, 16, 16, 3))
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), images)
  outputs, counts = jax.jit(lambda v, x: live_counts(model, v, x))(variables, images)
  assert outputs["logits"].shape == (2, 3) and list(counts) == ["block0.heads"]
  np.testing.assert_array_equal(counts["block0.heads"], [7, 3])


def test_counts_of_all_samplers_are_needed():
  with pytest.raises(ValueError, match="counts of res2 are needed"):
    measured("resnet3d_slim_18")({})
