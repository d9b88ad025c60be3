"""Fresh train states: programs that make variables are compiled quickly, and give what others give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.train import state


def made(key):
  return jax.nn.initializers.he_normal()(key, (3, 3, 8, 9))


@pytest.mark.parametrize("flags, platform, quick", [
    ("", "cpu", True), ("", "tpu", False), ("--xla_backend_optimization_level=0", "cpu", False)])
def test_cpus_compile_quickly_what_runs_once_unless_flags_say_how(monkeypatch, flags, platform, quick):
  monkeypatch.setenv("XLA_FLAGS", flags)
  asked = []
  monkeypatch.setattr(state.jax, "jit", lambda f, **options: asked.append(options) or f)
  state.run_once(made, platform, out_shardings=None)
  [options] = asked
  assert "out_shardings" in options and (options.get("compiler_options") == {
      "xla_backend_optimization_level": 1}) == quick


def test_variables_are_those_of_other_programs(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "")
  key = jax.random.PRNGKey(3)
  np.testing.assert_allclose(state.run_once(made)(key), jax.jit(made)(key), rtol=1e-5)
  assert state.run_once(lambda n: n + 1)(jnp.ones(3, jnp.int32)).tolist() == [2, 2, 2]
