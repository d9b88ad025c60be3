import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vidx import errors, tasks
from vidx.systems import create_model
from vidx.tasks.joint import Joint, min_norm_alpha, scheduled_alpha
from vidx.train import config, optim, state as state_lib, step as step_lib


def combined(alpha, a, b):
  return alpha * a + (1 - alpha) * b


@pytest.mark.parametrize("seed", range(4))
def test_the_combination_is_the_shortest_and_descends_both(seed):
  rng = np.random.default_rng(seed)
  a, b = rng.normal(size=5), rng.normal(size=5) * 2
  alpha = float(min_norm_alpha({"x": jnp.asarray(a[:2]), "y": jnp.asarray(a[2:])},
                               {"x": jnp.asarray(b[:2]), "y": jnp.asarray(b[2:])}))
  grid = min(np.linspace(0, 1, 10001), key=lambda s: np.sum(combined(s, a, b) ** 2))
  assert abs(alpha - grid) < 2e-4
  d = combined(alpha, a, b)
  assert d @ a >= d @ d - 1e-4 and d @ b >= d @ d - 1e-4


def test_special_cases_of_the_shortest_combination():
  e = jnp.eye(3)
  np.testing.assert_allclose(min_norm_alpha(e[0], e[1]), 0.5)
  assert np.isfinite(min_norm_alpha(e[0], e[0]))
  assert min_norm_alpha(e[0], 3 * e[0]) == 1 and min_norm_alpha(3 * e[0], e[0]) == 0


@pytest.mark.parametrize("gamma, lam, golden", [
    (0.1, 0.1, {1: 1.0, 10: 0.6581, 50: 0.2381, 99: 0.1016, 101: 0.1, 200: 0.0236, 500: 0.0035, 1000: 0.0}),
    (0.5, 0.3, {1: 1.0, 10: 0.8711, 100: 0.5508, 500: 0.3, 700: 0.0158})])
def test_the_scheduler_has_its_golden_values_and_falls(gamma, lam, golden):
  values = np.asarray(scheduled_alpha(jnp.arange(1, 1001), 1000, gamma, lam))
  for step, value in golden.items():
    np.testing.assert_allclose(values[step - 1], value, atol=1e-4)
  assert (np.diff(values) <= 1e-6).all()
  knee = int(1000 * gamma)
  assert abs(values[knee] - lam) < 0.01 and abs(values[knee - 2] - lam) < 0.01


GRADS = [{"projection": {"w": jnp.asarray([1.0, 0.0])}, "trunk": {"w": jnp.zeros(2)}},
         {"projection": {"w": jnp.asarray([0.0, 1.0])}, "trunk": {"w": jnp.asarray([2.0, 4.0])}}]


@pytest.mark.parametrize("fields, shared, others", [
    (dict(mode="mgda"), [0.5, 0.5], [2, 4]), (dict(mode="constant", alpha=0.9), [0.9, 0.1], [2, 4]),
    (dict(mode="constant", alpha=0.5, scale_others=True), [0.5, 0.5], [1, 2]),
    (dict(mode="separate"), [1, 0], [2, 4]), (dict(mode="scheduler"), [1, 0], [2, 4])])
def test_the_modes_mix_gradients_of_the_shared_parameters_alone(fields, shared, others):
  grads, figures = Joint(**fields).combine(GRADS, jnp.asarray(0), 100)
  np.testing.assert_allclose(grads["projection"]["w"], shared, atol=1e-6)
  np.testing.assert_allclose(grads["trunk"]["w"], others, atol=1e-6)
  np.testing.assert_allclose(figures["alpha"], shared[0], atol=1e-6)


@pytest.mark.parametrize("fields, words", [(dict(mode="mdga"), "nearest: 'mgda'"), (dict(gamma=1.5), "gamma"),
                                           (dict(alpha=-1.0), "alpha")])
def test_a_wrong_field_is_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError, match=words):
    tasks.get("joint", **fields)


def test_a_step_follows_both_objectives_and_logs_alpha():
  c = config.base()
  c.optimizer.update(momentum=0.0, weight_decay=0.0)
  model = create_model("dan", num_classes=3, trunk="resnet_18", stages=(1,), width=8, consecutive=2, dropout=0.0,
                       projection=dict(stride=4, kernel=5, features=4))
  video = jnp.zeros((1, 4, 16, 16, 3))
  schedule = optax.constant_schedule(0.1)
  params = jax.eval_shape(lambda: state_lib.begin(model, [video], 0)).params
  tx = optim.make_optimizer(c.optimizer, schedule, params)
  state = jax.jit(lambda: state_lib.complete(state_lib.begin(model, [video], 0), tx, False))()
  rng = np.random.default_rng(0)
  batch = {"video": jnp.asarray(rng.integers(0, 256, (4, 4, 16, 16, 3), dtype=np.uint8)),
           "label": jnp.asarray([0, 1, 2, 0]), "weight": jnp.ones(4)}
  changes = {}
  for name, fields in (("energy", dict(mode="separate")), ("entropy", dict(mode="constant", alpha=0.0)),
                       ("half", dict(mode="constant", alpha=0.5))):
    step = jax.jit(step_lib.make_train_step(model, Joint(**fields), tx, schedule, c, 3, jnp.float32, 10))
    new, metrics = step(state, batch)
    assert {"alpha", "enopr", "cross_entropy"} <= set(metrics)
    np.testing.assert_allclose(metrics["loss"], metrics["enopr"] + metrics["cross_entropy"], rtol=1e-5)
    changes[name] = jax.tree.map(lambda a, b: np.asarray(a - b), new.params, state.params)
  jax.tree.map(lambda h, a, b: np.testing.assert_allclose(h, (a + b) / 2, rtol=1e-3, atol=1e-6),
               *(changes[n]["projection"] for n in ("half", "energy", "entropy")))
  jax.tree.map(np.testing.assert_array_equal, changes["energy"]["trunk"], changes["entropy"]["trunk"])
  energy, entropy = (changes[n]["projection"]["local"]["kernel"] for n in ("energy", "entropy"))
  assert np.any(energy != entropy)
  _, whole = step(state, batch)
  _, found = step(state, {**batch, "label": jnp.asarray([0, 1, -1, -1])})
  np.testing.assert_allclose(found["enopr"], whole["enopr"], rtol=1e-5)  # of all clips
  _, half = step(state, {**batch, "weight": jnp.asarray([1.0, 1, 0, 0])})
  np.testing.assert_allclose(found["cross_entropy"], half["cross_entropy"], rtol=1e-5)  # of the labelled ones
