import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones.promises import jitted, some_input, some_variables
from vidx.nn import NonLocal, RegionNonLocal, region_non_local
from vidx.nn.conv import convolve

SHAPE = (2, 3, 4, 5, 8)
FORMS = [functools.partial(RegionNonLocal, form=f) for f in region_non_local.FORMS] + [
    functools.partial(NonLocal, form=f) for f in ("gaussian", "embedded_gaussian", "dot", "concatenation")]


def run(block, variables, x, **kwargs):
  return jitted(block)(variables, x, **kwargs)


def takes_dead_frames_as_absent(block, variables, x, **tolerances):
  """What is made of two clips of three frames, the last of the first one dead, is what is made of their live frames."""
  mask = np.array([[1, 1, 0], [1, 1, 1]], "f")
  y = np.asarray(run(block, variables, x * mask[:, :, None, None, None], mask=mask))
  np.testing.assert_allclose(y[:1, :2], run(block, variables, x[:1, :2]), **tolerances)
  np.testing.assert_allclose(y[1:], run(block, variables, x[1:]), **tolerances)
  assert not np.any(y[0, 2])


def gathered_by_loops(form, r, g, scale=1.0):
  """y_i = 1/C sum_j f(r_i, r_j) g_j over all positions, one pair at a time."""
  shape = g.shape
  r, g = (np.asarray(v, np.float64).reshape(shape[0], -1, v.shape[-1]) for v in (r, g))
  y = np.zeros(g.shape)
  for b, i in np.ndindex(*g.shape[:2]):
    s = [scale * r[b, i] @ r[b, j] for j in range(g.shape[1])]
    if form == "gaussian":
      f = np.exp(np.array(s) - max(s))
      f = f / f.sum()
    elif form == "dot":
      f = np.array(s) / len(s)
    else:
      norms = np.linalg.norm(r[b], axis=-1)
      f = np.maximum(s / (norms[i] * norms), 0) / len(s)
    y[b, i] = f @ g[b]
  return y.reshape(shape)


def regions_by_loops(g, w):
  """The depth-wise convolution of (B, T, H, W, C) with (kt, kh, kw, 1, C)."""
  k = w.shape[:3]
  padded = np.pad(g, [(0, 0), *((n // 2, n // 2) for n in k), (0, 0)])
  out = np.zeros(g.shape)
  for t, i, j in np.ndindex(*k):
    out += padded[:, t:t + g.shape[1], i:i + g.shape[2], j:j + g.shape[3]] * w[t, i, j, 0]
  return out


def parts_of(block, variables, x, names=("g", "region", "out")):
  """What the named submodules give."""
  pick = lambda m, _: m.name in names
  apply = jax.jit(functools.partial(block.apply, capture_intermediates=pick, mutable=["intermediates"]))
  _, state = apply(variables, x)
  return {k: np.asarray(v["__call__"][0]) for k, v in state["intermediates"].items()}


@pytest.mark.parametrize("form", region_non_local.FORMS)
@pytest.mark.parametrize("chunk", [0, 7])
def test_a_region_block_equals_the_loop(form, chunk):
  block = RegionNonLocal(form=form, kernel=(3, 3, 3), scale=0.7 if form != "cosine" else 1.0, chunk=chunk)
  x = some_input(SHAPE)
  variables = some_variables(block, x)
  parts = parts_of(block, variables, x)
  p = jax.tree.map(np.asarray, variables["params"])
  np.testing.assert_allclose(parts["region"], regions_by_loops(parts["g"], p["region"]["kernel"]), atol=1e-5)
  y = gathered_by_loops(form, parts["region"], parts["g"], block.scale)
  stats = jax.tree.map(np.asarray, variables["batch_stats"]["out"]["norm"])
  out = y @ p["out"]["conv"]["kernel"][0, 0, 0] + p["out"]["conv"]["bias"]
  out = (out - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * p["out"]["norm"]["scale"] + p["out"]["norm"]["bias"]
  np.testing.assert_allclose(run(block, variables, x), out + x, atol=2e-5)


@pytest.mark.parametrize("make", FORMS)
def test_a_block_starts_as_the_identity(make):
  x = some_input(SHAPE)
  block = make()

  @jax.jit
  def found(key):
    variables = block.init(key, x)
    return variables, block.apply(variables, x), block.apply(variables, x, True, mutable=["batch_stats"])[0]

  variables, evaluated, trained = found(jax.random.PRNGKey(0))
  assert set(variables) == {"params", "batch_stats"}
  np.testing.assert_array_equal(evaluated, x)
  np.testing.assert_array_equal(trained, x)


@pytest.mark.parametrize("make", FORMS)
def test_chunks_give_the_output_and_gradient_of_the_whole(make):
  x = some_input(SHAPE)
  results = []
  for chunk in (0, 11):
    block = make(chunk=chunk)
    variables = some_variables(block, x)

    def loss(params, x):
      y = block.apply({**variables, "params": params}, x)
      return (y ** 2).sum(), y

    results.append(jax.jit(jax.grad(loss, (0, 1), has_aux=True))(variables["params"], x))
  for a, b in zip(*map(jax.tree.leaves, results)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4)


def test_identity_regions_are_the_gaussian_operation_on_shared_projections():
  block = RegionNonLocal(descriptor="identity")
  x = some_input(SHAPE)
  variables = some_variables(block, x)
  g = parts_of(block, variables, x)["g"].reshape(2, -1, 4)
  y = jax.jit(lambda g: jax.nn.softmax(g @ g.swapaxes(1, 2), -1) @ g)(g)
  other = NonLocal()
  p = variables["params"]
  shared = {"params": {"out": p["out"], **{name: p["g"] for name in ("theta", "phi", "g")}},
            "batch_stats": variables["batch_stats"]}
  np.testing.assert_allclose(run(block, variables, x), run(other, shared, x), atol=1e-5)
  np.testing.assert_allclose(gathered_by_loops("gaussian", g[:, :, None, None], g[:, :, None, None]).reshape(y.shape),
                             y, atol=1e-5)


def test_the_concatenation_form_equals_its_pairs():
  block = NonLocal(form="concatenation")
  x = some_input(SHAPE)
  variables = some_variables(block, x)
  parts = parts_of(block, variables, x, ("theta", "phi", "g", "out"))
  theta, phi, g = (parts[k].reshape(2, -1, 4) for k in ("theta", "phi", "g"))
  w = np.asarray(variables["params"]["w_f"]).reshape(-1)
  f = np.maximum([[[w @ np.concatenate([a, b]) for b in ph] for a in th] for th, ph in zip(theta, phi)], 0)
  y = f @ g / g.shape[1]
  variables = jax.device_get(variables)
  p, stats = variables["params"]["out"], variables["batch_stats"]["out"]["norm"]
  out = y @ p["conv"]["kernel"][0, 0, 0] + p["conv"]["bias"]
  out = (out - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * p["norm"]["scale"] + p["norm"]["bias"]
  np.testing.assert_allclose(run(block, variables, x), np.asarray(x) + out.reshape(x.shape), atol=1e-5)


def map_of(block, variables, x, **kwargs):
  _, state = jax.jit(lambda v, x: block.apply(v, x, mutable=["maps"], **kwargs))(variables, x)
  return np.asarray(state["maps"]["attention"][0])


@pytest.mark.parametrize("make", FORMS)
def test_the_map_of_a_place_is_left_only_when_asked(make):
  x = some_input(SHAPE)
  block = make(query=(0.0, 0.5, 0.99))
  variables = some_variables(block, x)
  a = map_of(block, variables, x)
  assert a.shape == SHAPE[:-1] and (a >= 0).all() and a.dtype == np.float32
  if block.form in ("gaussian", "embedded_gaussian"):
    np.testing.assert_allclose(a.sum((1, 2, 3)), 1, rtol=1e-5)


def test_cosine_weights_lie_in_0_to_1_and_do_not_change_with_the_scale_of_features():
  block = RegionNonLocal(form="cosine", descriptor="identity", query=(0.5, 0.5, 0.5))
  x = np.asarray(some_input(SHAPE))
  variables = some_variables(block, x)
  variables["params"]["g"]["bias"] *= 0
  positions = np.prod(SHAPE[1:4])
  a = map_of(block, variables, x) * positions
  assert a.min() >= 0 and a.max() <= 1 + 1e-6
  np.testing.assert_allclose(a[:, 1, 2, 2], 1, rtol=1e-5)  # a position with itself
  factors = np.exp(some_input((*SHAPE[:-1], 1), 1))
  np.testing.assert_allclose(map_of(block, variables, x * factors) * positions, a, atol=1e-5)
  zero = jax.jit(jax.grad(lambda x: block.apply(variables, x).sum()))(x * 0)
  assert np.isfinite(zero).all()


def gathered(block, variables, x):
  """y of a block, before W_z."""
  seen = {}

  def note(next_call, args, kwargs, context):
    if context.module.name == "out":
      seen["y"] = args[0]
    return next_call(*args, **kwargs)

  @jax.jit
  def taken(variables, x):
    with nn.intercept_methods(note):
      block.apply(variables, x)
    return seen["y"]

  return np.asarray(taken(variables, x))


@pytest.mark.parametrize("descriptor", ["identity", "dwconv"])
def test_the_dot_form_grows_with_the_cube_of_the_features(descriptor):
  block = RegionNonLocal(form="dot", descriptor=descriptor, kernel=(3, 3, 3))
  x = np.asarray(some_input(SHAPE))
  variables = some_variables(block, x)
  variables["params"]["g"]["bias"] *= 0
  np.testing.assert_allclose(gathered(block, variables, 2 * x), 8 * gathered(block, variables, x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("descriptor", region_non_local.DESCRIPTORS)
def test_equal_features_everywhere_gather_themselves(descriptor):
  block = RegionNonLocal(descriptor=descriptor, kernel=(3, 3, 3))
  x = np.broadcast_to(some_input((1, 1, 1, 1, 8)), (1, 3, 4, 4, 8))
  variables = some_variables(block, x)
  np.testing.assert_allclose(gathered(block, variables, x), parts_of(block, variables, x)["g"], rtol=1e-5)


@pytest.mark.parametrize("form", region_non_local.FORMS)
def test_similarity_is_symmetric(form):
  shape = (1, 1, 2, 3, 8)
  x = some_input(shape)
  blocks = [RegionNonLocal(form=form, kernel=(1, 3, 3), query=(0, i / 2, j / 3 + 0.01)) for i, j in np.ndindex(2, 3)]
  every = jax.jit(lambda v: [b.apply(v, x, mutable=["maps"])[1]["maps"]["attention"][0].reshape(-1) for b in blocks])
  maps = np.array(every(some_variables(blocks[0], x)))
  if form == "gaussian":
    maps = np.log(maps) - np.log(np.diagonal(maps)[:, None])
    # s_ij - s_ii is known; the same for s_ji - s_jj, so their difference is s_jj - s_ii
    difference = maps - maps.T
    np.testing.assert_allclose(difference, difference[0][None] - difference[0][:, None], atol=1e-4)
  else:
    np.testing.assert_allclose(maps, maps.T, atol=1e-5)


def test_without_regions_the_order_of_positions_does_not_matter_and_with_them_places_do():
  order = np.random.default_rng(0).permutation(60)
  shuffle = lambda x: np.reshape(x, (2, 60, 8))[:, order].reshape(SHAPE)
  x = some_input(SHAPE)
  for descriptor, equal in (("identity", True), ("dwconv", False)):
    block = RegionNonLocal(descriptor=descriptor, kernel=(3, 3, 3))
    variables = some_variables(block, x)
    close = np.allclose(run(block, variables, shuffle(x)), shuffle(run(block, variables, x)), atol=1e-5)
    assert close == equal


def test_regions_move_with_the_clip():
  block = RegionNonLocal(kernel=(3, 3, 3))
  inner = some_input((1, 2, 2, 2, 8))
  place = lambda t, i, j: np.pad(inner, [(0, 0), (t, 6 - t), (i, 6 - i), (j, 6 - j), (0, 0)])
  variables = some_variables(block, place(3, 3, 3))
  variables["params"]["g"]["bias"] *= 0
  a, b = (np.asarray(run(block, variables, place(*at))) for at in ((3, 2, 3), (4, 4, 2)))
  np.testing.assert_allclose(a[:, 3:5, 2:4, 3:5], b[:, 4:6, 4:6, 2:4], atol=1e-5)


def test_average_regions_are_a_constant_kernel():
  x = some_input((2, 3, 8, 9, 8))
  pooled, learned = (RegionNonLocal(descriptor=d) for d in ("avgpool", "dwconv"))
  variables = some_variables(learned, x)
  variables["params"]["region"]["kernel"] = np.full((3, 7, 7, 1, 4), 1 / 147, "f")
  np.testing.assert_allclose(run(pooled, variables, x), run(learned, variables, x), atol=1e-5)


def test_a_region_s_rows_added_up_are_its_convolution_with_its_gradient():
  x, w = some_input((2, 3, 5, 6, 4)), some_input((3, 7, 5, 1, 4), 1)
  native = lambda x, w: convolve(x, w, (1, 1, 1), (1, 3, 2), groups=4, lowering="native")
  both = lambda f: jax.jit(lambda *v: (f(*v), jax.grad(lambda *v: (f(*v) ** 2).sum(), (0, 1))(*v)))(x, w)
  for a, b in zip(*(jax.tree.leaves(both(f)) for f in (native, region_non_local._by_rows))):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("descriptor", region_non_local.DESCRIPTORS)
@pytest.mark.parametrize("form", region_non_local.FORMS)
def test_dead_frames_are_as_frames_that_are_not_there(form, descriptor):
  block = RegionNonLocal(form=form, descriptor=descriptor, kernel=(3, 3, 3), chunk=9)
  x = np.asarray(some_input(SHAPE))
  takes_dead_frames_as_absent(block, some_variables(block, x), x, atol=1e-5)


@pytest.mark.parametrize("make", FORMS[:1] + FORMS[4:5])
def test_half_precision_keeps_scores_in_full(make):
  x = (30 * np.asarray(some_input(SHAPE))).astype(jnp.bfloat16)
  block = make(dtype=jnp.bfloat16)
  y, state = jax.jit(functools.partial(block.apply, mutable=["maps"]))(some_variables(block, x), x)
  assert y.dtype == jnp.bfloat16 and np.isfinite(np.asarray(y, "f")).all()
  assert state["maps"]["attention"][0].dtype == jnp.float32


def test_the_step_of_a_block_on_8192_positions_fits_in_600_mib():
  x = jax.ShapeDtypeStruct((1, 8, 32, 32, 256), jnp.float32)
  block = RegionNonLocal()
  variables = jax.eval_shape(block.init, jax.random.PRNGKey(0), x)

  def loss(params, x):
    y, _ = block.apply({**variables, "params": params, "batch_stats": {"out": {"norm": {
        "mean": jnp.zeros(256), "var": jnp.ones(256)}}}}, x, True, mutable=["batch_stats"])
    return (y ** 2).sum()

  compiled = jax.jit(jax.grad(loss, (0, 1))).lower(variables["params"], x).compile()
  memory = compiled.memory_analysis()
  assert memory.temp_size_in_bytes + memory.output_size_in_bytes < 600 * 2**20


def test_the_dot_form_has_no_matrix_of_pairs():
  x = jax.ShapeDtypeStruct((1, 16, 32, 32, 8), jnp.float32)
  for make in FORMS:
    block = make()
    text = str(jax.make_jaxpr(lambda k, x: block.init_with_output(k, x)[0])(jax.random.PRNGKey(0), x))
    assert "16384,16384" not in text
    assert block.form != "dot" or "512,16384" not in text


@pytest.mark.parametrize("make, words", [
    (lambda: RegionNonLocal(form="gauss"), ["gauss", "gaussian, dot, cosine"]),
    (lambda: RegionNonLocal(descriptor="conv"), ["conv", "dwconv, avgpool"]),
    (lambda: NonLocal(form="cosine"), ["cosine", "embedded_gaussian"]),
])
def test_an_unknown_choice_is_named(make, words):
  with pytest.raises(ValueError) as e:
    make()
  assert all(w in str(e.value) for w in words)


def test_pooled_keys_are_the_largest_features_of_windows():
  x, block = some_input((2, 4, 4, 6, 8)), NonLocal("dot", pool=(2, 2, 2))
  variables = some_variables(block, x)
  largest = np.asarray(x).reshape(2, 2, 2, 2, 2, 3, 2, 8).max((2, 4, 6))
  p = jax.tree.map(np.asarray, variables["params"])
  dense = lambda y, name: y @ p[name]["kernel"][0, 0, 0] + p[name]["bias"]
  theta = dense(np.asarray(x), "theta").reshape(2, -1, 4)
  phi, g = (dense(largest, name).reshape(2, -1, 4) for name in ("phi", "g"))
  y = np.einsum("bqd,bkd,bke->bqe", theta, phi, g) / phi.shape[1]
  norm = {**p["out"]["norm"], **jax.tree.map(np.asarray, variables["batch_stats"])["out"]["norm"]}
  out = y.reshape(2, 4, 4, 6, 4) @ p["out"]["conv"]["kernel"][0, 0, 0] + p["out"]["conv"]["bias"]
  out = (out - norm["mean"]) / np.sqrt(norm["var"] + 1e-5) * norm["scale"] + norm["bias"]
  np.testing.assert_allclose(run(block, variables, x), np.asarray(x) + out, rtol=1e-4, atol=1e-4)


def test_pooled_keys_of_a_shorter_clip_are_its_own():
  x, block = some_input((1, 6, 4, 4, 8)), NonLocal("dot", pool=(2, 2, 2))
  variables = some_variables(block, x)
  mask = jnp.asarray([[1, 1, 1, 1, 0, 0]])
  short, masked = run(block, variables, x[:, :4]), run(block, variables, x, mask=mask)
  np.testing.assert_allclose(masked[:, :4], short, rtol=1e-4, atol=1e-5)


def test_pooling_needs_weights_for_keys():
  with pytest.raises(ValueError, match="pool"):
    NonLocal("gaussian", pool=(1, 2, 2))
