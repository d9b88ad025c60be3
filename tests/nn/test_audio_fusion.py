import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones.promises import some_input, some_variables
from vidx.nn.audio_fusion import AudioVisualNonLocal, Dropped, ToFrames

SOUND = some_input((2, 1, 16, 5, 6))


def by_loops(x, variables):
  """The means over frequency, two convolutions of five rows, the second of every fourth."""
  rows = np.asarray(x, np.float64)[:, 0].mean(2)
  for name, stride in (("conv1", 1), ("conv2", 4)):
    kernel = np.asarray(variables["params"][name]["conv"]["kernel"], np.float64)[:, 0]
    norm = {**variables["params"][name]["norm"], **variables["batch_stats"][name]["norm"]}
    out = []
    for b in range(len(rows)):
      made = []
      for t in range(0, rows.shape[1], stride):
        total = sum(rows[b, t + k - 2] @ kernel[k] for k in range(5) if 0 <= t + k - 2 < rows.shape[1])
        made.append(np.maximum((total - norm["mean"]) / np.sqrt(norm["var"] + 1e-5) * norm["scale"] + norm["bias"], 0))
      out.append(made)
    rows = np.array(out)
  return rows


def test_sound_is_brought_to_frames_as_by_a_loop():
  block = ToFrames(7, 3, 4)
  variables = some_variables(block, SOUND)
  got = jax.jit(block.apply)(variables, SOUND)
  assert got.shape == (2, 4, 7)
  np.testing.assert_allclose(got, by_loops(SOUND, variables), atol=1e-4)


def test_rows_that_are_no_multiple_are_refused():
  for block, args in ((ToFrames(7, 3, 5), (SOUND,)), (AudioVisualNonLocal(), (some_input((2, 5, 2, 2, 8)), SOUND))):
    with pytest.raises(ValueError, match="no multiple of the 5 frames"):
      block.init(jax.random.PRNGKey(0), *args)


def test_the_nonlocal_operation_gathers_for_each_frame_and_starts_as_nothing():
  u, block = some_input((2, 4, 2, 3, 8), 1), AudioVisualNonLocal()
  fresh = block.init(jax.random.PRNGKey(0), u, SOUND)
  assert not block.apply(fresh, u, SOUND).any()
  variables = some_variables(block, u, SOUND)
  p = jax.tree.map(np.asarray, variables["params"])
  dense = lambda x, name: x @ p[name]["kernel"] + p[name]["bias"]
  heard = np.asarray(SOUND)[:, 0].mean(2).reshape(2, 4, 4, 6).mean(2)
  expected = np.zeros((2, 4, 4))
  for b in range(2):
    places = np.asarray(u)[b].reshape(-1, 8)
    for t in range(4):
      s = dense(places, "key") @ dense(heard[b, t], "query") / 2
      w = np.exp(s - s.max())
      expected[b, t] = (w / w.sum()) @ dense(places, "value")
  norm = {**p["out"]["norm"], **jax.tree.map(np.asarray, variables["batch_stats"])["out"]["norm"]}
  out = expected @ p["out"]["conv"]["kernel"][0, 0]
  out = (out - norm["mean"]) / np.sqrt(norm["var"] + 1e-5) * norm["scale"] + norm["bias"]
  np.testing.assert_allclose(block.apply(variables, u, SOUND)[:, :, 0, 0], out, atol=1e-4)


def test_what_is_dropped_is_zero_or_the_running_mean_of_what_was_heard():
  x = some_input((4, 3, 5))
  for keep in (0.0, 1.0):
    np.testing.assert_array_equal(Dropped().apply({}, x, jnp.asarray(keep)), keep * x)
  block = Dropped("mean")
  variables = block.init(jax.random.PRNGKey(0), x, jnp.ones(()))
  mask = jnp.asarray([1.0, 1, 0, 1])
  y, new = block.apply(variables, x, jnp.zeros(()), True, mask, mutable=["batch_stats"])
  expected = 0.1 * np.asarray(x)[[0, 1, 3]].mean((0, 1))
  np.testing.assert_allclose(new["batch_stats"]["mean"], expected, rtol=1e-5, atol=1e-7)
  np.testing.assert_allclose(y, np.broadcast_to(expected, x.shape), rtol=1e-5, atol=1e-7)
  np.testing.assert_array_equal(block.apply(new, x, jnp.ones(())), x)
  with pytest.raises(ValueError, match="fill = 'noise'"):
    Dropped("noise")
