import jax
import jax.numpy as jnp
from jax.test_util import check_grads
import numpy as np
import pytest

from tests.backbones import promises
from vidx.nn import SoftAssignVLAD
from vidx.nn.cosine_classifier import unit
from vidx.nn.soft_assign_vlad import assignment_logits, residual_groups

Z = np.asarray(promises.some_input((2, 7, 6)))
MASK = np.array([[1] * 7, [1] * 4 + [0] * 3], "f")
FORMS = [{}, dict(background=False), dict(own_residual=True), dict(norm="bias", own_residual=True), dict(norm="bn")]


def filled(model, z=Z, **kwargs):
  return jax.device_get(promises.some_variables(model, jnp.asarray(z), **kwargs))


def run(model, variables, z=Z, mask=None, **kwargs):
  return jax.tree.map(np.asarray, jax.jit(model.apply, static_argnames="modality")(variables, z, mask, **kwargs))


def grouped_by_loops(model, variables, z, mask):
  p = variables["params"]
  centres = np.concatenate([p["centres"], p["background"]]) if model.background else p["centres"]
  residual = p["residual"] if model.own_residual else p["centres"]
  groups = np.zeros((len(z), model.centres, z.shape[-1]))
  weights = np.zeros((*z.shape[:2], len(centres)))
  for b, i in np.ndindex(z.shape[:2]):
    if not mask[b, i]:
      continue
    logits = np.array([z[b, i] @ c for c in centres])
    if model.norm == "bias":
      logits = logits + p["bias"]
    if model.norm == "bn":
      n, s = p["norm"], variables["batch_stats"]["norm"]
      logits = (logits - s["mean"]) / np.sqrt(s["var"] + 1e-5) * n["scale"] + n["bias"]
    weights[b, i] = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    for j in range(model.centres):
      groups[b, j] += weights[b, i, j] * (z[b, i] - residual[j])
  return groups, weights


@pytest.mark.parametrize("fields", FORMS)
def test_equals_the_loop(fields):
  model = SoftAssignVLAD(4, **fields)
  variables = filled(model)
  for found, want in zip(run(model, variables, mask=MASK), grouped_by_loops(model, variables, Z, MASK)):
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("norm, params", [("bn", 14_632), ("bias", 14_602)])
def test_text_and_video_share_everything_but_the_normalisation(norm, params):
  model = SoftAssignVLAD(9, own_residual=True, norm=norm, modalities=("text", "video"))
  shapes = jax.eval_shape(lambda k: model.init(k, jnp.zeros((1, 3, 768)), modality="text"), jax.random.PRNGKey(0))
  assert sum(p.size for p in jax.tree.leaves(shapes["params"])) == params


def test_a_modality_has_a_normalisation_of_its_own():
  model = SoftAssignVLAD(4, norm="bn", modalities=("text", "video"))
  variables = jax.device_get(model.init(jax.random.PRNGKey(0), Z, modality="video"))
  _, changed = model.apply(variables, Z, train=True, modality="text", mutable=["batch_stats"])
  assert np.any(changed["batch_stats"]["norm_text"]["mean"])
  np.testing.assert_array_equal(changed["batch_stats"]["norm_video"]["mean"], 0)


def test_weights_of_live_positions_sum_to_one_and_groups_with_the_background_to_all_features():
  model = SoftAssignVLAD(4)
  _, a = run(model, filled(model), mask=MASK)
  np.testing.assert_allclose(a.sum(-1), MASK, atol=1e-6)
  groups = residual_groups(jnp.asarray(Z), jnp.asarray(a), jnp.zeros((5, 6)))
  np.testing.assert_allclose(groups.sum(1), (Z * MASK[..., None]).sum(1), atol=1e-5)


def test_a_background_that_attracts_nothing_is_none_and_one_that_attracts_all_leaves_nothing():
  model, plain = SoftAssignVLAD(4, norm="bias"), SoftAssignVLAD(4, norm="bias", background=False)
  p = filled(model)["params"]
  at = lambda b: {"params": {**p, "bias": np.array([*p["bias"][:4], b])}}
  none = {"params": {"centres": p["centres"], "bias": p["bias"][:4]}}
  np.testing.assert_allclose(run(model, at(-1e9))[0], run(plain, none)[0], atol=1e-5)
  groups, _ = run(model, at(200.0))
  assert not np.any(groups) and np.isfinite(unit(groups)).all()


def test_selected_groups_are_those_of_all():
  model = SoftAssignVLAD(4)
  variables, select = filled(model), np.array([[2, 0], [1, 3]])
  whole, _ = run(model, variables, mask=MASK)
  some, _ = run(model, variables, mask=MASK, select=select)
  np.testing.assert_allclose(some, np.take_along_axis(whole, select[..., None], 1), atol=1e-5)


def test_shared_centres_take_the_place_of_own_ones():
  model = SoftAssignVLAD(4)
  variables = filled(model)
  centres = variables["params"]["centres"]
  shared = {"params": {"background": variables["params"]["background"]}}
  assert set(model.init(jax.random.PRNGKey(0), Z, centres=centres)["params"]) == {"background"}
  np.testing.assert_array_equal(run(model, shared, centres=centres)[0], run(model, variables)[0])


def test_equal_centres_share_alike_and_a_feature_on_its_centre_leaves_nothing():
  centres = np.ones((4, 6), "f")
  model = SoftAssignVLAD(4, background=False)
  groups, a = run(model, {}, np.ones((1, 7, 6), "f"), centres=centres)
  np.testing.assert_allclose(a, 1 / 4, rtol=1e-6)
  np.testing.assert_allclose(groups, 0, atol=1e-5)


def test_one_centre_sums_the_residuals():
  model, c = SoftAssignVLAD(1, background=False), np.full((1, 6), 0.5, "f")
  np.testing.assert_allclose(run(model, {}, centres=c)[0][:, 0], (Z - 0.5).sum(1), atol=1e-5)


@pytest.mark.parametrize("fields", [{}, dict(norm="bn")])
def test_order_padding_and_other_examples_change_nothing(fields):
  model = SoftAssignVLAD(4, **fields)
  variables = filled(model)
  groups, _ = run(model, variables, mask=MASK)
  order = np.random.default_rng(0).permutation(7)
  np.testing.assert_allclose(run(model, variables, Z[:, order], MASK[:, order])[0], groups, atol=1e-5)
  wild = np.where(MASK[..., None] > 0, Z, np.inf)
  np.testing.assert_array_equal(run(model, variables, wild, MASK)[0], groups)
  np.testing.assert_allclose(run(model, variables, Z[1:, :4], MASK[1:, :4])[0], groups[1:], atol=1e-5)


def test_centres_learn_nothing_through_the_assignment_where_it_is_stopped():
  model = SoftAssignVLAD(4, own_residual=True)
  loss = lambda v, **k: (model.apply(v, Z, **k)[0] ** 2).sum()
  variables = filled(model)
  assert np.any(jax.grad(loss)(variables)["params"]["centres"])
  assert not np.any(jax.grad(lambda v: loss(v, stop_centres=True))(variables)["params"]["centres"])


def test_gradients_equal_finite_differences_and_it_lowers():
  model = SoftAssignVLAD(3, norm="bias")
  promises.lowers_for_accelerators(model, jnp.asarray(Z))
  variables, weigh = filled(model), np.random.default_rng(1).normal(size=(2, 3, 6)).astype("f")
  f = jax.jit(lambda v, z: (model.apply(v, z, MASK)[0] * weigh).sum())
  check_grads(f, (variables, Z), order=1, modes=["rev"], eps=1e-2, atol=3e-2, rtol=3e-2)


def test_half_precision_keeps_softmax_and_sums_in_single():
  model, half = SoftAssignVLAD(4), jnp.asarray(Z * 20, jnp.bfloat16)
  groups, a = model.apply(filled(model), half)
  assert groups.dtype == a.dtype == jnp.float32 and np.isfinite(groups).all()
  np.testing.assert_allclose(a.sum(-1), 1, atol=1e-5)
  single = assignment_logits(half.astype(jnp.float32), jnp.ones((1, 6)))
  np.testing.assert_allclose(assignment_logits(half, jnp.ones((1, 6))), single, rtol=1e-2)


def test_the_map_is_left_only_when_asked():
  model = SoftAssignVLAD(4)
  _, state = model.apply(filled(model), Z, MASK, mutable=["maps"])
  (shown,) = state["maps"]["assignment"]
  assert shown.shape == (2, 7, 5)


def test_an_unknown_normalisation_is_named():
  with pytest.raises(ValueError, match="'batch' is not one of bias, bn"):
    SoftAssignVLAD(4, norm="batch")
