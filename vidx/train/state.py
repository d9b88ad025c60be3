"""The train state: everything that a step changes and a checkpoint keeps."""

from collections.abc import Callable, Mapping
import os
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors

_LEVEL = "xla_backend_optimization_level"

@struct.dataclass
class TrainState:
  """A pytree; every leaf is an array, with an axis in front where several runs go on at once.

  Attributes:
    step: int32 (), steps done.
    params: fp32 parameters.
    stats: the model's other collections, as {'batch_stats': ...}.
    opt_state: of optax.
    ema: averaged parameters, {} where not kept.
    key: PRNG key; a step uses fold_in(key, step).
    plateau: fp32 {'scale', 'best', 'wait'} of the plateau schedule.
  """

  step: jax.Array
  params: Any
  stats: Any
  opt_state: optax.OptState
  ema: Any
  key: jax.Array
  plateau: dict[str, jax.Array]

  def step_number(self) -> int:
    """Steps done, as a number of the host."""
    return int(np.max(jax.device_get(self.step)))

  def variables(self) -> dict[str, Any]:
    """What the model is evaluated with: averaged parameters where they are kept."""
    return {"params": self.ema or self.params, **self.stats}


def run_once(create: Callable, platform: str = "", **options: Any) -> Callable:
  """`jax.jit` of what makes variables and runs once: a CPU's compiler takes little time for it, and gives slow code.

  Random numbers of some shapes, such as kernels of 9 filters, take XLA half a minute each otherwise.

  Args:
    create: of `jax.jit`.
    platform: that it is compiled for, such as 'cpu'; that of the default device where left out.
    options: of `jax.jit`.
  """
  if (platform or jax.default_backend()) == "cpu" and _LEVEL not in os.environ.get("XLA_FLAGS", ""):
    options["compiler_options"] = {_LEVEL: 1}
  return jax.jit(create, **options)


def begin(model, inputs, seed: int | jax.Array) -> TrainState:
  """A fresh state without an optimiser; pure, so that it can be jitted, vmapped over seeds or shaped."""
  init_key, key = jax.random.split(jax.random.PRNGKey(seed))
  params_key, dropout_key = jax.random.split(init_key)
  variables = dict(model.init({"params": params_key, "dropout": dropout_key}, *inputs, train=False))
  params = variables.pop("params")
  for transient in ("losses", "figures", "maps", "intermediates"):
    variables.pop(transient, None)
  return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      stats=variables,
      opt_state=(),
      ema={},
      key=key,
      plateau={"scale": jnp.ones(()), "best": jnp.full((), -jnp.inf), "wait": jnp.zeros(())},
  )


def over_seeds(function: Callable[[Any], Any], together: bool | None = None) -> Callable[[Any], Any]:
  """A function of trees with an axis of seeds in front, from one of trees without it.

  Args:
    function: of one state or its variables.
    together: all seeds in each operation, which fills an accelerator; otherwise one after the
      other in one program. None: as is quicker; on two CPU cores a step of five SCT on 576 frames
      took 0.36 to 0.54 s together, and 0.30 s one after the other, compiled in half the time.
  """
  together = jax.default_backend() != "cpu" if together is None else together
  return jax.vmap(function) if together else lambda states: jax.lax.map(function, states)


def complete(state: TrainState, tx: optax.GradientTransformation, ema: bool) -> TrainState:
  """A fresh state with its optimiser, and with averaged parameters where `ema` asks for them."""
  return state.replace(opt_state=tx.init(state.params), ema=jax.tree.map(jnp.copy, state.params) if ema else {})


def watched(evaluated: Mapping[str, float], name: str) -> float:
  """The figure of an evaluation by which a plateau is told, larger is better: a loss counts downwards.

  Raises:
    ConfigError: an evaluation does not give it.
  """
  if name not in evaluated:
    raise errors.ConfigError(f"schedule.monitor '{name}' is no figure of an evaluation{errors.hint(name, evaluated)};"
                             f" those are {', '.join(evaluated)}.")
  return -evaluated[name] if name == "loss" else evaluated[name]


def on_plateau(plateau: dict[str, Any], value: float, factor: float, patience: int) -> dict[str, Any]:
  """The plateau after an evaluation (larger is better): after `patience` without gain the rate falls."""
  scale, best, wait = (float(plateau[k]) for k in ("scale", "best", "wait"))
  if value > best:
    best, wait = value, 0.0
  else:
    wait += 1
    if wait > patience:
      scale, wait = scale * factor, 0.0
  return {k: jnp.asarray(v, jnp.float32) for k, v in (("scale", scale), ("best", best), ("wait", wait))}
