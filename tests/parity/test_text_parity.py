import jax
import numpy as np
import pytest

from tests.parity import peers
import vidx
from vidx import interop

references = pytest.importorskip("tests.parity.references")


def test_bert_equals_its_reference_for_texts_of_any_length():
  model = vidx.create_model("bert_base", vocab=50, positions=12, dim=48, depth=2, heads=4, hidden=192)
  module = peers.randomised(references.BERT(50, 12, 48, 2, 4))
  state = peers.arrays(module)
  variables, _ = interop.from_torch(model, state, "huggingface")
  back = interop.to_torch(model, variables, "huggingface")
  assert set(back) == set(state) and all(np.array_equal(back[k], state[k]) for k in state)

  rng = np.random.default_rng(0)
  text, segments = rng.integers(0, 50, (3, 9)), rng.integers(0, 2, (3, 9))
  mask = np.arange(9) < np.array([[9], [5], [1]])
  tokens, pooled = module(*map(peers.torch.from_numpy, (text, mask, segments)))
  out = jax.jit(lambda v, *a: model.apply(v, a[0], mask=a[1], segments=a[2]))(variables, text, mask, segments)
  assert peers.relative(out["features"], pooled.detach().numpy()) < 1e-4
  assert peers.relative(np.where(mask[..., None], out["tokens"], 0),
                        np.where(mask[..., None], tokens.detach().numpy(), 0)) < 1e-4


def test_older_names_and_heads_of_pre_training_are_read():
  model = vidx.create_model("bert_base", vocab=50, positions=12, dim=48, depth=1, heads=4, hidden=192)
  state = peers.arrays(peers.randomised(references.BERT(50, 12, 48, 1, 4)))
  older = {"bert." + k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
           for k, v in state.items()}
  older |= {"bert.embeddings.position_ids": np.arange(12)[None], "cls.predictions.bias": np.zeros(50, "f")}
  a, _ = interop.from_torch(model, state, "huggingface")
  b, report = interop.from_torch(model, older, "huggingface")
  assert jax.tree.all(jax.tree.map(np.array_equal, a, b))
  assert set(report.dropped) == {"bert.embeddings.position_ids", "cls.predictions.bias"}
