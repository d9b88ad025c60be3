import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises
from vidx import errors
from vidx.measure import count
from vidx.systems.ipl import InteractiveHead

TINY = dict(num_classes={"verb": 4, "noun": 6}, trunk="resnet3d_18", stages=(1, 1), width=8, keep=2)
X = np.asarray(promises.some_input((2, 2, 3, 4, 8)))
SCALES = 2  # parameters that no table counts


@functools.cache
def head(**fields):
  model = InteractiveHead(4, 6, **{"keep": 2, **fields})
  variables = jax.device_get(promises.some_variables(model, jnp.asarray(X)))
  for name in ("verb", "noun"):
    if "scale" in variables["params"].get(name, {}):
      variables["params"][name]["scale"] = np.float32(10)
  return model, variables


def run(model, variables, *args):
  return jax.tree.map(np.asarray, promises.jitted(model)(variables, *args))


def unit(x):
  return x / np.sqrt((x * x).sum(-1, keepdims=True) + 1e-6)


def scored_by_loops(p, stats, x, keep):
  """Equations 4.1 to 4.5 and the layers behind them, one position at a time."""
  verbs, nouns = [], []
  centres = np.concatenate([p["prototypes"], p["group"]["background"]])
  for clip in x:
    z = clip.reshape(-1, clip.shape[-1]).astype(np.float64)
    verb = 10 * unit(z.mean(0)) @ unit(p["prototypes"]).T
    groups = np.zeros((len(verb), z.shape[1]))
    for position in z:
      e = np.exp(centres @ position - (centres @ position).max())
      for i in range(len(verb)):
        groups[i] += e[i] / e.sum() * (position - p["prototypes"][i])
    best = np.argsort(-verb, kind="stable")[:keep]
    n = sum(w * row for w, row in zip(p["weighting"]["kernel"][:, 0], unit(groups)[best]))
    norm, s = p["weighting"]["norm"], stats["weighting"]["norm"]
    n = np.maximum((n - s["mean"]) / np.sqrt(s["var"] + 1e-5) * norm["scale"] + norm["bias"], 0)
    verbs.append(verb)
    nouns.append(10 * unit(n) @ unit(p["noun"]["prototypes"]).T)
  return np.array(verbs), np.array(nouns)


def test_the_head_equals_the_loop():
  model, variables = head()
  verb, noun = scored_by_loops(variables["params"], variables["batch_stats"], X, 2)
  out = run(model, variables, X)
  np.testing.assert_allclose(out["logits"]["verb"], verb, atol=1e-4)
  np.testing.assert_allclose(out["logits"]["noun"], noun, atol=1e-4)
  np.testing.assert_array_equal(out["chosen"], np.argsort(-verb, kind="stable")[:, :2])


@pytest.mark.parametrize("verbs, nouns, channels, params", [
    (97, 300, 1024, 407_559), (125, 352, 1024, 489_479), (19, 51, 1024, 72_711),
    (97, 300, 512, 203_783), (125, 352, 512, 244_743), (19, 51, 512, 36_359)])
def test_the_head_has_the_parameters_of_its_prototypes(verbs, nouns, channels, params):
  shapes = jax.eval_shape(InteractiveHead(verbs, nouns).init, jax.random.PRNGKey(0), jnp.zeros((1, 1, 7, 7, channels)))
  assert sum(p.size for p in jax.tree.leaves(shapes["params"])) == params + SCALES


def test_on_i3d_it_has_the_published_size_and_products():
  found = count(vidx.create_model("ipl"), jax.ShapeDtypeStruct((1, 64, 224, 224, 3), jnp.float32))
  assert found.params == 12_694_823 + SCALES
  assert found.macs / 1e9 == pytest.approx(111.2, abs=0.05)


def test_all_groups_cost_the_published_products_and_the_chosen_ones_about_half():
  at = lambda **fields: count(InteractiveHead(97, 300, **fields), jax.ShapeDtypeStruct((1, 8, 7, 7, 1024), jnp.float32))
  assert at(prototypes="independent").macs / 1e6 == pytest.approx(78.7, abs=0.05)
  assert at().macs / 1e6 == pytest.approx(41.8, abs=0.05)


def test_with_all_verbs_alike_in_weight_their_order_does_not_matter():
  model, variables = head(keep=4)
  p = variables["params"]
  p = {**p, "weighting": {**p["weighting"], "kernel": np.full((4, 1), 0.25, "f")}}
  order = np.array([2, 0, 3, 1])
  moved = {**p, "prototypes": p["prototypes"][order]}
  a, b = (run(model, {**variables, "params": q}, X) for q in (p, moved))
  np.testing.assert_allclose(b["logits"]["noun"], a["logits"]["noun"], atol=1e-5)
  np.testing.assert_allclose(b["logits"]["verb"], a["logits"]["verb"][:, order], atol=1e-5)


def test_positions_have_no_order_and_the_verb_no_strength():
  model, variables = head()
  a = run(model, variables, X)
  moved = X.reshape(2, 24, 8)[:, np.random.default_rng(0).permutation(24)].reshape(X.shape)
  np.testing.assert_allclose(run(model, variables, moved)["logits"]["noun"], a["logits"]["noun"], atol=1e-4)
  np.testing.assert_allclose(run(model, variables, 3 * X)["logits"]["verb"], a["logits"]["verb"], atol=1e-4)
  assert np.abs(run(model, variables, 3 * X)["logits"]["noun"] - a["logits"]["noun"]).max() > 1e-3


def gradient(variables, model, key, **kwargs):
  def loss(params):
    out = model.apply({**variables, "params": params}, X, train=True, mutable=["batch_stats"], **kwargs)[0]
    return (out["logits"][key] * np.arange(1, out["logits"][key].shape[-1] + 1)).sum()

  return jax.device_get(jax.jit(jax.grad(loss))(variables["params"]))


def test_nouns_teach_the_prototypes_of_verbs_unless_they_are_stopped():
  assert np.any(gradient(head()[1], head()[0], "noun")["prototypes"])
  model, variables = head(stop_grad_assign=True, stop_grad_residual=True)
  assert not np.any(gradient(variables, model, "noun")["prototypes"])
  model, variables = head(stop_grad_residual=True, keep=1)
  through = gradient(variables, model, "noun")["prototypes"]
  assert np.any(through, axis=-1).all()  # those of other verbs through the softmax alone


@pytest.mark.parametrize("fields", [{}, dict(form="depthwise"), dict(form="full"), dict(background=False),
                                    dict(prototypes="independent"), dict(residual="unit"), dict(learned_scale=False)])
def test_a_variant_has_finite_gradients_and_lowers(fields):
  model, variables = head(**fields)
  promises.lowers_for_accelerators(model, jnp.asarray(X))
  for key in ("verb", "noun"):
    grads = gradient(variables, model, key)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert np.any(grads["prototypes"]) == (key == "verb" or fields.get("prototypes") != "independent")


def test_a_true_verb_may_be_forced_among_the_chosen_in_training_alone():
  model, variables = head(select="with_label")
  label = run(model, variables, X)["logits"]["verb"].argmin(-1)
  out, _ = model.apply(variables, X, label, train=True, mutable=["batch_stats"])
  np.testing.assert_array_equal(out["chosen"][:, -1], label)
  assert not np.any(run(model, variables, X, label)["chosen"] == label[:, None])
  whole = vidx.create_model("ipl", **TINY, select="with_label")
  assert whole.inputs == ("video", "label/verb")


def test_it_shows_where_the_chosen_verbs_look():
  model, variables = head()
  _, state = model.apply(variables, X, mutable=["maps"])
  (shown,) = state["maps"]["attention"]
  assert shown.shape == X.shape[:4] and (shown >= 0).all() and (shown <= 1 + 1e-6).all()


@pytest.mark.parametrize("background", [True, False])
def test_the_log_tells_how_undecided_positions_are_and_what_the_background_takes(background):
  model, variables = head(background=background)
  out, state = model.apply(variables, X, train=True, mutable=["batch_stats", "maps", "figures"])
  a = np.asarray(state["maps"]["group"]["assignment"][0], np.float64)
  np.testing.assert_allclose(state["figures"]["assignment_entropy"][0], -(a * np.log(a)).sum(-1).mean(), rtol=1e-4)
  np.testing.assert_allclose(state["figures"]["background_share"][0], a[..., -1].mean() if background else 0, rtol=1e-5)


def test_the_whole_keeps_its_promises():
  clip = promises.some_input((2, 4, 16, 16, 3))
  model = vidx.create_model("ipl", **TINY)
  promises.keeps_examples_apart(model, clip, "logits")
  promises.visits_every_site(model, clip)
  half = vidx.create_model("ipl", **TINY, dtype=jnp.bfloat16)
  out = jax.eval_shape(lambda x: half.init_with_output(jax.random.PRNGKey(0), x)[0], clip)
  assert out["logits"]["verb"].dtype == out["logits"]["noun"].dtype == jnp.float32


@pytest.mark.parametrize("call, words", [
    (dict(form="ranks"), ["'ranks'", "nearest: 'rank'"]), (dict(prototypes="own"), ["'own'", "shared, independent"]),
    (dict(keep=0), ["keep = 0"]), (dict(num_classes=97), ["num_classes = 97"]), (dict(kep=3), ["no field 'kep'"])])
def test_a_wrong_field_is_one_clear_line(call, words):
  with pytest.raises(errors.ConfigError) as e:
    vidx.create_model("ipl", **call)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)
