"""A step of retrieval whose batch is sharded over all devices of a run: python -m tests.tasks.retrieval_step OUT."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import vidx
from tests.backbones import promises
from tests.systems import test_t2vlad as t2vlad
from vidx import tasks
from vidx.command import process


def step() -> list[np.ndarray]:
  """Loss, statistics and gradients of sixteen pairs, the last two of them padding."""
  arrays = [t2vlad.example(0, batch=16)[i] for i in (0, 1, 2, 4, 5, 7)]  # of two experts, one of them missing once
  model = vidx.create_model("t2vlad", **{**t2vlad.TINY, "experts": ("rgb", "audio")})
  variables = jax.tree.map(np.asarray, promises.some_variables(model, *map(jnp.asarray, arrays)))
  task = tasks.get("retrieval", margin=0.2)
  rest = {"weight": np.float32([1] * 14 + [0] * 2), "index": np.arange(16), "text_count": np.ones(16, int)}

  def loss(params, arrays, rest):
    out, stats = model.apply({**variables, "params": params}, *arrays, train=True, mutable=["batch_stats"],
                             rngs={"dropout": jax.random.PRNGKey(0)})
    return (task.loss(out, {**rest, "text_mask": arrays[1]})[0] * rest["weight"]).sum() / 14, stats

  mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
  place = lambda tree, *axes: jax.tree.map(lambda x: jax.make_array_from_callback(
      np.shape(x), jax.NamedSharding(mesh, jax.P(*axes)), lambda index: x[index]), tree)
  found = jax.jit(jax.value_and_grad(loss, has_aux=True), out_shardings=jax.NamedSharding(mesh, jax.P()))(
      place(variables["params"]), place(arrays, "data"), place(rest, "data"))
  return [np.asarray(x.addressable_data(0)) for x in jax.tree.leaves(found)]


if __name__ == "__main__":
  process.start_jax()
  leaves = step()
  if not jax.process_index():
    np.savez(sys.argv[1], *leaves)
  print(f"{jax.process_count()} processes, {jax.device_count()} devices", flush=True)
