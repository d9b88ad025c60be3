import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vidx
from tests.backbones import promises

B, K, L = 3, 5, 6
TINY = dict(streams=("rgb", "motion"), steps=L, hidden=8, embedding=6, attention=7, dropout=0.0)
SYSTEMS = {"captioner": dict(vocab=11, own_from=0.0), "pos_generator": {}}


def example():
  rng = np.random.default_rng(0)
  text = np.concatenate([np.full((B, 1), 2), rng.integers(4, 11, (B, L - 1))], 1).astype(np.int32)
  streams = [rng.normal(size=(B, K, d)).astype("f") for d in (9, 4)]
  live = [(np.arange(K) < np.array([[5], n, [4]])).astype("f") for n in ([3], [0])]  # nothing moves in the second
  return text, *streams, *live


X = example()


def inputs(name, arrays=X):
  return (*arrays, np.full(len(arrays[0]), 0.5, "f")) if name == "captioner" else arrays


@functools.cache
def made(name, **fields):
  model = vidx.create_model(name, **TINY, **SYSTEMS[name], **fields)
  return model, promises.some_variables(model, *map(jnp.asarray, inputs(name)))


def run(name, arrays=X, **fields):
  model, variables = made(name, **fields)[0], made(name)[1]
  return jax.tree.map(np.asarray, promises.jitted(model)(variables, *inputs(name, arrays)))


@pytest.mark.parametrize("name", SYSTEMS)
def test_padding_and_other_examples_change_nothing(name):
  out = run(name)
  wide = lambda x, value: np.concatenate([x, np.full((B, 2, *x.shape[2:]), value, "f")], 1)
  padded = run(name, (X[0], wide(X[1], 7), wide(X[2], 7), wide(X[3], 0), wide(X[4], 0)))
  alone = run(name, tuple(x[1:2] for x in X))
  assert out["logits"].shape == (B, L - 1, 11 if name == "captioner" else 22)
  for key, value in out.items():
    np.testing.assert_allclose(padded[key], value, atol=1e-4, err_msg=key)
    np.testing.assert_allclose(alone[key][0], value[1], atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", SYSTEMS)
def test_half_precision_is_near_and_keeps_logits_whole(name):
  whole, half = run(name)["logits"], run(name, dtype=jnp.bfloat16)["logits"]
  assert half.dtype == np.float32
  assert np.abs(half - whole).max() < 0.05 * np.abs(whole).max()


@pytest.mark.parametrize("name, fields, train", [
    ("captioner", {}, False), ("captioner", {}, True), ("captioner", dict(self_critical=True), True),
    ("pos_generator", {}, True)])
def test_it_lowers_for_tpu_and_cuda_in_half_precision(name, fields, train):
  model = vidx.create_model(name, **{**TINY, "dropout": 0.5}, **SYSTEMS[name], **fields, dtype=jnp.bfloat16)
  if not train:
    promises.lowers_for_accelerators(model, *map(jnp.asarray, inputs(name)))
    return
  variables = made(name)[1]

  def grads(variables, *x):
    def loss(params):
      out, _ = model.apply({**variables, "params": params}, *x, train=True, mutable=["batch_stats"],
                           rngs={"dropout": jax.random.PRNGKey(0)})
      return out["drawn"]["log_prob"].sum() if "drawn" in out else jnp.square(out["logits"]).sum()
    return jax.grad(loss)(variables["params"])

  assert jax.export.export(jax.jit(grads), platforms=["tpu", "cuda"])(
      jax.eval_shape(lambda: variables), *inputs(name)).mlir_module_serialized


def test_it_learns_all_but_the_parts_of_speech():
  model, variables = made("captioner")

  @jax.jit
  def grads(params):
    def loss(p):
      out, _ = model.apply({**variables, "params": p}, *inputs("captioner"), train=True, mutable=["batch_stats"],
                           rngs={"dropout": jax.random.PRNGKey(0)})
      return -jax.nn.log_softmax(out["logits"])[:, :, 3:].sum(1)[:, 4].sum()
    return jax.grad(loss)(params)

  found = {jax.tree_util.keystr(k, simple=True, separator="/"): g
           for k, g in jax.tree_util.tree_leaves_with_path(grads(variables["params"]))}
  assert all(np.isfinite(g).all() for g in found.values())
  assert not any(np.any(g) for k, g in found.items() if k.startswith("pos/"))
  dead = {k for k, g in found.items() if not k.startswith("pos/") and not np.any(g)}
  assert not dead, dead
