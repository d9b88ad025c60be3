"""The torch originals, and the comparison of a trunk with one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="parity with torch needs the extra 'parity'")

from vidx import interop  # noqa: E402
from vidx.bench import peers as measure_peers  # noqa: E402

measure_peers.import_torchvision()


def randomised(module, seed=0):
  """The module in evaluation mode, every parameter and statistic random."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, p in module.named_parameters():
      if p.ndim > 1 and not name.endswith(("token", "embed", "embedding")):
        spread = p[0].numel() ** -0.5
        p.copy_(torch.randn(p.shape, generator=generator) * spread)
      elif name.endswith("weight"):
        p.copy_(1 + 0.2 * torch.randn(p.shape, generator=generator))
      else:
        p.copy_(0.2 * torch.randn(p.shape, generator=generator))
    for name, b in module.named_buffers():
      if name.endswith("running_mean"):
        b.copy_(0.2 * torch.randn(b.shape, generator=generator))
      elif name.endswith("running_var"):
        b.copy_(0.5 + torch.rand(b.shape, generator=generator))
  return module.eval()


def arrays(module):
  """The state dict as NumPy arrays."""
  return {k: v.detach().numpy() for k, v in module.state_dict().items()}


def relative(a, b):
  """Largest difference over largest value."""
  a, b = np.asarray(a), np.asarray(b)
  assert a.shape == b.shape, (a.shape, b.shape)
  return np.abs(a - b).max() / np.abs(b).max()


def apart(a, b):
  """Length of the difference over the length of the second.

  A rectifier or a maximum whose arguments differ by less than fp32 can tell falls on
  either side from one processor and lowering to the next; one of a late layer moves
  the gradient everywhere. Seen: 0.45 % of the length for S3D, 0.0001 % where none fell so.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  assert a.shape == b.shape, (a.shape, b.shape)
  return np.linalg.norm(a - b) / np.linalg.norm(b)


def channels_first(x):
  """(B, ..., C) -> (B, C, ...)."""
  return np.moveaxis(x, -1, 1)


def compare(model, module, source, x, layout=channels_first, output=1e-4, gradient=2e-2, **options):
  """Weights converted both ways, outputs, and gradients with respect to the input.

  Args:
    model: a trunk.
    module: its torch original; called with layout(x).
    source: of the rules.
    x: input of the trunk.
    layout: the input as torch wants it.
    output: largest relative difference of the logits.
    gradient: largest distance of the gradients, see `apart`; None: outputs alone.
    **options: of from_torch.
  """
  state = arrays(randomised(module))
  variables, report = interop.from_torch(model, state, source, **options)
  assert set(report.mapped) | set(report.dropped) == set(state)
  back = interop.to_torch(model, variables, source)
  for key in set(back) | set(report.mapped):
    assert back[key].dtype == state[key].dtype and np.array_equal(back[key], state[key]), key
  assert not {k for k in set(state) - set(back) if "batches" in k}

  if gradient is None:
    with torch.no_grad():
      expected = module(torch.from_numpy(np.ascontiguousarray(layout(x)))).numpy()
    assert relative(jax.jit(model.apply)(variables, jnp.asarray(x))["logits"], expected) < output
    return variables, report
  weights = np.random.default_rng(1).normal(size=(x.shape[0], model.num_classes)).astype("f")
  there = torch.from_numpy(np.ascontiguousarray(layout(x))).requires_grad_()
  expected = module(there)
  (expected * torch.from_numpy(weights)).sum().backward()

  @jax.jit
  def run(variables, x):
    loss = lambda x: (lambda y: ((y * weights).sum(), y))(model.apply(variables, x)["logits"])
    return jax.value_and_grad(loss, has_aux=True)(x)

  (_, logits), grad = run(variables, jnp.asarray(x))
  assert relative(logits, expected.detach().numpy()) < output
  assert apart(layout(np.asarray(grad)), there.grad.numpy()) < gradient
  return variables, report
