import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.backbones.resnet import ResNet
from vidx.nn import sites

SMALL = dict(num_classes=5, stages=(1, 2), width=4)


class Identity(nn.Module):

  @nn.compact
  def __call__(self, x, train=False):
    return x


class Scale(nn.Module):
  by: float = 1.0

  @nn.compact
  def __call__(self, x, train=False):
    return x * self.param("by", nn.initializers.constant(self.by), (), jnp.float32)


def double(x):
  return 2 * x


@pytest.fixture(scope="module")
def clip():
  return np.random.default_rng(0).normal(size=(2, 4, 16, 16, 3)).astype("f")


@pytest.fixture(scope="module")
def plain(clip):
  model = ResNet(**SMALL)
  return model, jax.jit(model.init)(jax.random.PRNGKey(1), clip)


def logits(model, variables, clip, **kwargs):
  return jax.jit(lambda v, x: model.apply(v, x, **kwargs)["logits"])(variables, clip)


def test_sites_are_listed_in_the_order_of_the_flow():
  assert ResNet(**SMALL).site_names() == (
      "stem", "res2.0.in", "res2.0.branch", "res2.0.residual", "res2.0.out", "res2",
      "res3.0.in", "res3.0.branch", "res3.0.residual", "res3.0.out",
      "res3.1.in", "res3.1.branch", "res3.1.residual", "res3.1.out", "res3")


def test_an_identity_at_every_site_changes_nothing_bit_for_bit(plain, clip):
  model, variables = plain
  full = ResNet(**SMALL, sites={"*": Identity})
  same = jax.tree.map(jnp.shape, jax.eval_shape(full.init, jax.random.PRNGKey(1), clip))
  assert same == jax.tree.map(jnp.shape, dict(variables))
  np.testing.assert_array_equal(logits(full, variables, clip), logits(model, variables, clip))


@pytest.mark.parametrize("where", ["res2.0.in", "res2.0.branch", "res2.0.residual", "res2.0.out"])
def test_a_block_at_a_site_keeps_the_names_and_values_of_the_rest(plain, clip, where):
  model, variables = plain
  full = ResNet(**SMALL, sites={where: functools.partial(Scale, 1.0)})
  new = jax.jit(full.init)(jax.random.PRNGKey(1), clip)
  part = where.split(".")[-1]
  assert new["params"]["res2_0"].pop(f"at_{part}") == {"Scale_0": {"by": 1.0}}
  jax.tree.map(np.testing.assert_array_equal, new["params"], dict(variables["params"]))


def test_each_place_of_a_block_is_where_its_name_says(clip):
  """out = relu(shortcut(in) + branch(in)) with a branch that adds nothing."""
  at = lambda where, block: ResNet(**SMALL, zero_init=True, sites={where: block})
  model = ResNet(**SMALL, zero_init=True)
  variables = jax.jit(model.init)(jax.random.PRNGKey(1), clip)
  changed = (model, at("res2.0.in", double), at("res2.0.branch", double), at("res2.0.residual", lambda x: x + 1.0),
             at("res2.0.out", lambda x: x - 9.0))

  @jax.jit
  def found(variables):
    out = [sites.features(m, variables, clip, site="res2.0.out") for m in changed]
    return sites.features(model, variables, clip, site="stem"), out

  stem, (plain, doubled, branch, residual, out) = jax.device_get(found(variables))
  np.testing.assert_allclose(plain, stem, rtol=1e-6)
  np.testing.assert_allclose(doubled, 2 * stem, rtol=1e-6)
  np.testing.assert_allclose(branch, stem, rtol=1e-6)
  np.testing.assert_allclose(residual, stem + 1, rtol=1e-5)
  np.testing.assert_allclose(out, stem - 9, rtol=1e-5)


def test_several_blocks_at_a_site_act_in_order(plain, clip):
  model, variables = plain
  full = ResNet(**SMALL, sites={"res3": (double, lambda x: x + 1.0)})
  before, after = jax.device_get(jax.jit(
      lambda v: [sites.features(m, v, clip, site="res3") for m in (model, full)])(variables))
  np.testing.assert_allclose(after, 2 * before + 1, rtol=1e-6)


def test_a_pattern_without_a_site_is_an_error_that_lists_the_sites(clip):
  with pytest.raises(ValueError, match=r"'res9\.\*' matches no site; the sites are stem, res2\.0\.in"):
    jax.eval_shape(ResNet(**SMALL, sites={"res9.*": Identity}).init, jax.random.PRNGKey(0), clip)


def test_a_model_with_sites_can_be_hashed_and_compared():
  one, two = (ResNet(**SMALL, sites={"res[23].*.out": Identity}) for _ in range(2))
  assert hash(one) == hash(two) and one == two


def test_features_of_an_unknown_site_name_the_sites(plain, clip):
  model, variables = plain
  with pytest.raises(ValueError, match="'res7' is not a site"):
    sites.features(model, variables, clip, site="res7")
  at = functools.partial(sites.features, model, site="res3")
  assert jax.eval_shape(at, variables, clip).shape == (2, 4, 2, 2, 8)


@pytest.mark.parametrize("fields", [
    dict(dims=2, consensus=True),
    dict(dims=3, temporal=(3, 3), time_strides=(1, 2), stem="video"),
    dict(dims=3, temporal=(3, 3), time_strides=(2, 1), stem="r2plus1d", split="block"),
])
def test_dead_frames_leave_the_output_of_the_shorter_clip(fields):
  """Live frames in front; what lies behind them never reaches the result."""
  clip = np.random.default_rng(0).normal(size=(2, 6, 16, 16, 3)).astype("f")
  live = (np.arange(6) < 3).astype("f")
  model = ResNet(**SMALL, **fields)
  dropped = model.clone(sites={"stem": lambda x, mask=None: (x, jnp.broadcast_to(live, x.shape[:2]))})
  variables = jax.jit(model.init)(jax.random.PRNGKey(1), clip)

  @jax.jit
  def both(variables, noise):
    behind = jnp.where(live[None, :, None, None, None] == 1, clip, 0)
    told = model.apply(variables, behind, mask=jnp.broadcast_to(live, (2, 6)))["logits"]
    short = model.apply(variables, clip[:, :3])["logits"]
    by_block = dropped.apply(variables, jnp.where(live[None, :, None, None, None] == 1, clip, noise))["logits"]
    return told, short, by_block

  told, short, by_block = both(variables, 0.0)
  np.testing.assert_allclose(told, short, rtol=1e-4, atol=1e-5)
  if fields["dims"] == 2:  # frames meet only in what follows the block
    np.testing.assert_allclose(by_block, short, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(both(variables, 7.0)[2], by_block)


def test_steps_can_be_walked_one_by_one(plain, clip):
  model, variables = plain

  names = []

  def walk(m, x):
    mask = None
    for name, step in m.steps():
      x, mask = step(x, mask, False)
      names.append(name)
    return m.head(x, mask)["logits"]

  y = jax.jit(functools.partial(model.apply, method=walk))(variables, clip)
  assert names == ["stem", "res2.0", "res2", "res3.0", "res3.1", "res3"]
  np.testing.assert_allclose(y, logits(model, variables, clip), rtol=1e-4, atol=1e-6)


class Lockstep(nn.Module):
  """Two trunks in step; the second hears the first after every stage."""

  def setup(self):
    self.slow = ResNet(**SMALL)
    self.fast = ResNet(**{**SMALL, "width": 2})

  def __call__(self, x):
    a = b = x
    for (name, one), (_, two) in zip(self.slow.steps(), self.fast.steps()):
      (a, _), (b, _) = one(a, None, False), two(b, None, False)
      if name.startswith("res") and "." not in name:
        a = a + b.mean(-1, keepdims=True)
    return a


def test_two_trunks_walk_in_lockstep(clip):
  model = Lockstep()
  y, variables = jax.eval_shape(model.init_with_output, jax.random.PRNGKey(0), clip)
  assert y.shape == (2, 4, 2, 2, 8)
  assert set(variables["params"]) == {"slow", "fast"} and "stem" in variables["params"]["slow"]
