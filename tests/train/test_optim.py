import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vidx import errors
from vidx.train import config, optim, ranger, schedule, state as state_lib

PARAMS = {"stem": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones((2,))},
          "head": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones((3,))}}
GRADS = jax.tree.map(lambda p: 0.5 * p, PARAMS)


def one_update(**changes):
  c = config.base().optimizer
  c.update(changes)
  tx = optim.make_optimizer(c, optax.constant_schedule(0.1), PARAMS)
  state = tx.init(PARAMS)
  updates, _ = tx.update(GRADS, state, PARAMS)
  return updates, state


def test_sgd_adds_decay_to_the_gradient_except_for_biases():
  updates, _ = one_update(name="sgd", momentum=0.0, weight_decay=0.2)
  np.testing.assert_allclose(updates["stem"]["kernel"], -0.1 * (0.5 + 0.2), rtol=1e-6)
  np.testing.assert_allclose(updates["stem"]["bias"], -0.05, rtol=1e-6)


@pytest.mark.parametrize("nesterov", [{}, {"nesterov": True}])
def test_momentum_equals_optax_and_is_plain_unless_nesterov_is_asked_for(nesterov):
  tx = optax.sgd(0.1, 0.9, **nesterov)
  wanted, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
  got, _ = one_update(name="sgd", weight_decay=0.0, **nesterov)
  jax.tree.map(np.testing.assert_allclose, got, wanted)


@pytest.mark.parametrize("name, make", [("adamw", optax.adamw), ("lamb", optax.lamb)])
def test_adamw_and_lamb_equal_optax(name, make):
  mask = {"stem": {"kernel": True, "bias": False}, "head": {"kernel": True, "bias": False}}
  tx = make(0.1, weight_decay=0.3, mask=mask, eps=1e-6)
  wanted, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
  got, _ = one_update(name=name, weight_decay=0.3, eps=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, wanted)


def test_groups_multiply_rate_and_decay():
  updates, _ = one_update(name="sgd", momentum=0.0, weight_decay=0.2, groups=(("head/kernel", 5.0, 0.0),))
  np.testing.assert_allclose(updates["head"]["kernel"], -5 * 0.05, rtol=1e-6)
  np.testing.assert_allclose(updates["stem"]["kernel"], -0.07, rtol=1e-6)


def test_frozen_parameters_move_not_and_have_no_state():
  updates, state = one_update(name="adamw", frozen=("^stem",))
  assert not np.any(updates["stem"]["kernel"]) and np.any(updates["head"]["kernel"])
  shapes = {tuple(x.shape) for x in jax.tree.leaves(state)}
  assert (2, 2) not in shapes and (2, 3) in shapes


def test_what_a_model_holds_is_frozen_as_well_and_may_be_kept():
  model, c = types.SimpleNamespace(held=("^stem/",)), config.base().optimizer
  assert jax.tree.leaves(optim.frozen(PARAMS, c, model)["stem"]) == [True] * len(jax.tree.leaves(PARAMS["stem"]))
  assert not any(jax.tree.leaves(optim.frozen(PARAMS, c)))
  optim.check_frozen(PARAMS, c, model, ["stem"], "data.cache", "clips")
  with pytest.raises(errors.ConfigError, match=r"data.cache keeps what 'head' makes of clips.*add '\^head/' to optim"):
    optim.check_frozen(PARAMS, c, model, ["stem", "head"], "data.cache", "clips")


def test_a_pattern_that_matches_nothing_is_an_error():
  with pytest.raises(errors.ConfigError, match="matches no parameter"):
    one_update(frozen=("layer9",))


def test_clipping_bounds_the_norm():
  updates, _ = one_update(name="sgd", momentum=0.0, weight_decay=0.0, clip_norm=0.1)
  np.testing.assert_allclose(optax.tree.norm(updates), 0.01, rtol=1e-5)


def make(name, **changes):
  c = config.base().schedule
  c.update(name=name, peak=1.0, epochs=10.0, **changes)
  return schedule.make_schedule(c, steps_per_epoch=10.0, total_steps=100, batch_size=32)


def test_schedules_at_their_corners():
  cosine = make("cosine", warmup_epochs=1.0, end=0.1)
  np.testing.assert_allclose([cosine(0), cosine(5), cosine(10), cosine(55), cosine(100)],
                             [0, 0.5, 1, 0.55, 0.1], atol=1e-6)
  step = make("step", milestones=(4.0, 8.0))
  np.testing.assert_allclose([step(39), step(41), step(81)], [1, 0.1, 0.01], rtol=1e-6)
  close = make("step", milestones=(4.01, 4.02, 8.0))  # two round to one step
  np.testing.assert_allclose([close(39), close(41), close(81)], [1, 0.01, 0.001], rtol=1e-6)
  np.testing.assert_allclose(make("linear")(50), 0.5)
  np.testing.assert_allclose(make("constant", reference_batch=64)(3), 0.5)


def test_an_unknown_schedule_names_the_nearest():
  with pytest.raises(errors.ConfigError, match="nearest: 'cosine'"):
    make("cosin")


def test_plateau_falls_after_patience():
  p = {"scale": 1.0, "best": -np.inf, "wait": 0.0}
  scales = []
  for value in (50, 60, 60, 59, 61, 61, 61):
    p = state_lib.on_plateau(p, value, factor=0.1, patience=1)
    scales.append(round(float(p["scale"]), 6))
  assert scales == [1, 1, 1, 0.1, 0.1, 0.1, 0.01]


def test_plateau_watches_the_figure_that_is_named_and_a_loss_is_to_fall():
  assert state_lib.watched({"loss": 2.0, "top-1": 60.0}, "top-1") == 60
  p = {"scale": 1.0, "best": -np.inf, "wait": 0.0}
  scales = []
  for loss in (2.0, 1.5, 1.4, 1.6, 1.5):
    p = state_lib.on_plateau(p, state_lib.watched({"loss": loss}, "loss"), factor=0.1, patience=1)
    scales.append(round(float(p["scale"]), 6))
  assert scales == [1, 1, 1, 1, 0.1]
  with pytest.raises(errors.ConfigError, match="schedule.monitor 'top1'.*nearest: 'top-1'"):
    state_lib.watched({"loss": 2.0, "top-1": 60.0}, "top1")


def test_groups_are_clipped_apart():
  updates, _ = one_update(name="sgd", momentum=0.0, weight_decay=0.0, clip_norm=0.3,
                          clip_groups=(("^stem/kernel", 0.1), ("^stem", 100.0)))
  np.testing.assert_allclose(np.linalg.norm(updates["stem"]["kernel"]), 0.1 * 0.1, rtol=1e-5)
  np.testing.assert_allclose(updates["stem"]["bias"], -0.05, rtol=1e-6)
  np.testing.assert_allclose(optax.tree.norm(updates["head"]), 0.1 * 0.3, rtol=1e-5)
  with pytest.raises(errors.ConfigError, match="clip_groups pattern 'layer9'"):
    one_update(clip_groups=(("layer9", 1.0),))


def test_plain_descent_with_decay_of_every_parameter():
  updates, _ = one_update(name="sgd", momentum=0.0, weight_decay=0.2, no_decay="")
  jax.tree.map(lambda u: np.testing.assert_allclose(u, -0.1 * (0.5 + 0.2), rtol=1e-6), updates)


def ranger_by_numpy(start, gradient, steps, rate, decay, b1=0.95, b2=0.999, eps=1e-5, every=6, share=0.5):
  """The rule of Ranger's own code, word for word."""
  p, slow = start.astype(np.float64).copy(), start.astype(np.float64).copy()
  m, v = np.zeros_like(p), np.zeros_like(p)
  for t in range(1, steps + 1):
    g = gradient(p)
    v = b2 * v + (1 - b2) * g * g
    m = b1 * m + (1 - b1) * g
    longest = 2 / (1 - b2) - 1
    length = longest - 2 * t * b2 ** t / (1 - b2 ** t)
    if length > 5:
      size = np.sqrt((1 - b2 ** t) * (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
                     ) / (1 - b1 ** t)
    else:
      size = 1 / (1 - b1 ** t)
    p = p - decay * rate * p
    p = p - rate * size * (m / (np.sqrt(v) + eps) if length > 5 else m)
    if t % every == 0:
      slow = slow + share * (p - slow)
      p = slow.copy()
  return p


def test_ranger_is_the_rule_of_its_own_code():
  target = np.array([1.0, -2.0, 0.5])
  scale = np.array([1.0, 3.0, 0.01])
  c = config.base().optimizer
  c.update(name="ranger", b1=0.95, b2=0.999, eps=1e-5, weight_decay=0.01, no_decay="")
  params = {"kernel": jnp.zeros(3)}
  tx = optim.make_optimizer(c, optax.constant_schedule(0.1), params)
  state = tx.init(params)
  for _ in range(20):
    updates, state = tx.update({"kernel": scale * (params["kernel"] - target)}, state, params)
    params = optax.apply_updates(params, updates)
  wanted = ranger_by_numpy(np.zeros(3), lambda p: scale * (p - target), 20, 0.1, 0.01)
  np.testing.assert_allclose(params["kernel"], wanted, rtol=1e-5)
  assert jax.tree.structure(params) == jax.tree.structure({"kernel": 0})  # one tree, not a pair


def test_the_length_of_the_average_is_exact_from_the_first_step_on():
  steps = np.array([1, 2, 5, 6, 10, 100, 499, 501, 1000, 20_000])
  kept = 0.999 ** steps.astype(np.float64)
  wanted = 1999 - 2 * steps * kept / (1 - kept)
  np.testing.assert_allclose(ranger.average_length(jnp.asarray(steps), 0.999), wanted, rtol=2e-6)
