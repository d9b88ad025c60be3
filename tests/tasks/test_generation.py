import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.nn import conv
from vidx.tasks import generation
from vidx.train import config as config_lib, optim, state as state_lib, step as step_lib
import vidx

FIELDS = dict(width=4, downs=1, blocks=1, critic_width=4, scales=1, clips=3, distance="l1", pvm_chunk=0)


def setup(weights=None, lr=1e-3):
  model, task = vidx.create_model("disentangle", **FIELDS), tasks.get("generation", weights=weights or {})
  config = config_lib.base()
  config.data.update(mean=(0.5,) * 3, std=(0.5,) * 3)
  config.optimizer.update(name="adamw", b1=0.5, weight_decay=0.0, ema=0.9)
  rng = np.random.default_rng(0)
  batch = {"video": jnp.asarray(rng.integers(0, 255, (4, 3, 32, 32, 3)), jnp.uint8), "weight": jnp.ones(4),
           "instances": jnp.asarray([[0, 1], [1, 2], [2, 0], [-1, -1]], jnp.int32)}
  given = batch["video"].astype(jnp.float32), batch["instances"]
  state = jax.jit(lambda: state_lib.begin(model, given, 0))()
  tx = optim.make_optimizer(config.optimizer, lambda _: lr, state.params)
  state = state_lib.complete(state, tx, True)
  return model, task, state, batch, jax.jit(step_lib.make_train_step(model, task, tx, lambda _: lr, config, 0,
                                                                     jnp.float32, 10))


def test_each_side_follows_its_own_terms_alone():
  with conv.using("native"):
    model, task, state, batch, step = setup()
    after, figures = step(state, batch)
    still, _ = setup({name: 0.0 for name in ("target", "again", "pixels", "gan_image", "gan_pair", "clip")})[-1](
        state, batch)
  moved = lambda s: {k for k in s.params if any(jax.tree.leaves(jax.tree.map(
      lambda a, b: bool((a != b).any()), s.params[k], state.params[k])))}
  assert moved(after) == set(state.params)
  assert moved(still) == {"critic_image", "critic_pair"}
  assert {"target", "again", "pixels", "gan_image", "critic/gan_image", "critic/clip"} <= set(figures)
  assert all(np.isfinite(v) for v in figures.values())
  assert not all(bool((a == b).all()) for a, b in zip(jax.tree.leaves(after.ema), jax.tree.leaves(after.params)))


def test_patterns_part_all_parameters_but_the_networks_that_stay():
  names = {"identity_encoder/layer1/conv/kernel": "generator", "decoder/rgb/conv/bias": "generator",
           "critic_pair/scale1/conv1/kernel": "critic", "perception/trunk/conv1_0/conv/kernel": None}
  for path, side in names.items():
    found = [o.name for o in tasks.get("generation").objectives if re.search(o.pattern, path)]
    assert found == ([side] if side else [])


def test_evaluation_compares_with_the_target_and_gives_bytes():
  task = tasks.get("generation")
  video = jnp.zeros((2, 3, 4, 4, 3)).at[:, 2].set(1.0)
  outputs = {"image": jnp.full((2, 4, 4, 3), -1.0)}
  loss, _ = task.loss(outputs, {"video": video})
  np.testing.assert_allclose(loss, 1)
  found = jax.device_get(task.predict(outputs, {"video": video}))
  assert found["image"].dtype == np.uint8 and not found["image"].any() and (found["target"] == 255).all()
  assert task.metrics(found)["l1"] == 100
  assert set(task.describe(found, 0, None)) == {"psnr", "l1", "colour"}
  np.testing.assert_array_equal(generation.as_bytes(jnp.asarray([-1.0, 0.0, 1.0])), [0, 128, 255])


def test_weights_of_terms_that_do_not_exist_and_systems_without_images_are_refused():
  outputs = {"generator": {"target": jnp.ones(1)}, "critic": {"gan_image": jnp.ones(1)}}
  with pytest.raises(errors.ConfigError, match="nearest: 'target'"):
    tasks.get("generation", weights={"targe": 1.0}).objectives[0].loss(outputs, {})
  with pytest.raises(errors.ConfigError, match="makes images"):
    tasks.get("generation").objectives[0].loss({"logits": jnp.ones(1)}, {})
