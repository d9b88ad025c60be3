import functools

import jax
import jax.numpy as jnp
import numpy as np

import vidx
from tests.backbones import promises
from vidx.measure import count
from vidx.systems.language_model import LanguageEncoder

TINY = dict(vocab=30, width=6, hidden=8)
TEXT = np.random.default_rng(0).integers(4, 30, (3, 7))
MASK = (np.arange(7) < np.array([7, 4, 2])[:, None]).astype("f")


@functools.cache
def made():
  model = vidx.create_model("language_model", **TINY)
  return model, promises.some_variables(model, jnp.asarray(TEXT), jnp.asarray(MASK))


def test_next_words_are_told_from_what_stands_before_them_alone():
  model, variables = made()
  run = promises.jitted(model)
  out = run(variables, TEXT, MASK)
  assert out["logits"].shape == (3, 6, 30) and out["features"].shape == (3, 8)
  other = TEXT.copy()
  other[:, 4:] = 5
  np.testing.assert_array_equal(run(variables, other, MASK)["logits"][:, :4], out["logits"][:, :4])
  np.testing.assert_array_equal(run(variables, other, MASK)["features"][1:], out["features"][1:])


def test_several_texts_of_a_record_are_each_as_if_alone():
  model, variables = made()
  run = promises.jitted(model)
  several = run(variables, np.stack([TEXT, TEXT[::-1]], 1), np.stack([MASK, MASK[::-1]], 1))
  assert several["logits"].shape == (3, 2, 6, 30)
  np.testing.assert_allclose(several["logits"][:, 0], run(variables, TEXT, MASK)["logits"], atol=1e-5)


def test_the_code_of_a_phrase_is_the_state_at_its_last_word():
  encoder = LanguageEncoder(30, 6, 8)
  variables = promises.some_variables(encoder, jnp.asarray(TEXT))
  states = encoder.apply(variables, TEXT)
  codes = encoder.apply(variables, TEXT, MASK * [[1], [1], [0]], method="codes")
  np.testing.assert_array_equal(codes[:2], np.stack([states[0, 6], states[1, 3]]))
  assert not codes[2].any()


def test_gradients_are_finite_in_half_precision_and_it_lowers():
  model = vidx.create_model("language_model", **TINY, dtype=jnp.bfloat16)
  _, variables = made()

  def loss(params):
    out = model.apply({"params": params}, TEXT, MASK, train=True, rngs={"dropout": jax.random.PRNGKey(0)})
    assert out["logits"].dtype == jnp.float32
    return (out["logits"] ** 2).sum()

  grads = jax.jit(jax.grad(loss))(variables["params"])
  assert all(np.isfinite(g).all() and g.any() for g in jax.tree.leaves(grads))
  promises.lowers_for_accelerators(model, jnp.asarray(TEXT), jnp.asarray(MASK))


def test_its_encoder_has_the_published_size():
  model = vidx.create_model("language_model")
  shapes = jax.eval_shape(model.init, jax.random.PRNGKey(0), *[jax.ShapeDtypeStruct((1, 22), jnp.float32)] * 2)
  assert sum(x.size for x in jax.tree.leaves(shapes["params"]["language"]["lstm"])) == 14_688_256
  assert count(model, *[jax.ShapeDtypeStruct((1, 22), jnp.float32)] * 2).params == 30_058_256
