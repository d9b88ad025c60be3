import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import CategoryHeads, Head

X = promises.some_input((2, 3, 4, 4, 8))
SIZES = (("action", 5), ("scene", 3))


def out_of(block, variables, **given):
  return jax.jit(block.apply)(variables, X, **given)


def test_without_convolutions_a_category_is_an_ordinary_head():
  heads = CategoryHeads(SIZES, conv="none")
  variables = promises.some_variables(heads, X)
  found = out_of(heads, variables)
  for name, n in SIZES:
    alone = Head(n).apply({"params": variables["params"][name]["out"]}, X)
    np.testing.assert_allclose(found["logits"][name], alone["logits"], rtol=1e-6)
  np.testing.assert_allclose(found["features"], X.mean((1, 2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("conv, bottleneck, params", [
    ("1x1x1", False, 8 * 8 + 16), ("3x3x3", False, 27 * 64 + 16), ("last_block", False, 2 * (27 * 64 + 16)),
    ("last_block", True, 8 * 2 + 4 + 27 * 4 + 4 + 2 * 8 + 16), ("none", False, 0)])
def test_every_category_has_convolutions_of_its_own(conv, bottleneck, params):
  heads = CategoryHeads(SIZES, conv=conv, bottleneck=bottleneck)
  variables = promises.some_variables(heads, X)
  sizes = {name: sum(p.size for p in jax.tree.leaves(variables["params"][name])) for name, _ in SIZES}
  assert sizes == {name: params + 9 * n for name, n in SIZES}
  changed = {**variables, "params": {**variables["params"], "scene": jax.tree.map(
      lambda p: p + 1, variables["params"]["scene"])}}
  a, b = out_of(heads, variables), out_of(heads, changed)
  np.testing.assert_array_equal(a["logits"]["action"], b["logits"]["action"])
  assert (a["logits"]["scene"] != b["logits"]["scene"]).any()


def test_dead_frames_say_nothing():
  heads = CategoryHeads(SIZES, conv="3x3x3")
  variables = promises.some_variables(heads, X)
  mask = jnp.asarray([[1, 1, 0], [1, 1, 1]])
  live = X * mask[:, :, None, None, None]
  found = jax.jit(lambda x: heads.apply(variables, x, mask))(live)["logits"]["action"][0]
  short = jax.jit(lambda x: heads.apply(variables, x))(X[:1, :2])["logits"]["action"][0]
  np.testing.assert_allclose(found, short, rtol=1e-5)
