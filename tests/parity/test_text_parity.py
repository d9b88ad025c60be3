import jax
import numpy as np
import pytest

from tests.parity import peers
import vidx
from vidx import interop
from vidx.data import tokens

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


def test_an_encoder_without_a_pooler_leaves_that_of_the_file_out():
  fields = dict(vocab=50, positions=12, dim=48, depth=1, heads=4, hidden=192)
  state = peers.arrays(peers.randomised(references.BERT(50, 12, 48, 1, 4)))
  variables, report = interop.from_torch(vidx.create_model("bert_base", pooler=False, **fields), state, "huggingface")
  whole, _ = interop.from_torch(vidx.create_model("bert_base", **fields), state, "huggingface")
  assert set(report.dropped) == {"pooler.dense.weight", "pooler.dense.bias"}
  whole["params"].pop("pooler")
  assert jax.tree.all(jax.tree.map(np.array_equal, variables, whole))


SENTENCES = ("a man is cooking", "two dogs run, and a cat sleeps", "a girl does gymnastics", "cooking", "")


def test_hidden_states_of_sentences_equal_those_of_transformers(tmp_path):
  transformers = pytest.importorskip("transformers", reason="parity with transformers needs the extra 'parity'")
  words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for s in SENTENCES for w in s.replace(",", " ,").split()})]
  (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
  tokenizer = tokens.Tokenizer(str(tmp_path / "vocab.txt"), "words", 12)
  text, mask = (np.stack(x) for x in zip(*map(tokenizer, SENTENCES)))
  peers.torch.manual_seed(0)
  module = transformers.BertModel(transformers.BertConfig(
      vocab_size=len(words), hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
      max_position_embeddings=16)).eval()
  model = vidx.create_model("bert_base", vocab=len(words), positions=16, dim=48, depth=3, heads=4, hidden=96)
  variables, _ = interop.from_torch(model, peers.arrays(module), "huggingface")
  with peers.torch.no_grad():
    wanted = module(*map(peers.torch.from_numpy, (text.astype("l"), mask.astype("l")))).last_hidden_state.numpy()
  found = jax.jit(lambda v, *a: model.apply(v, a[0], mask=a[1]))(variables, text, mask)["tokens"]
  live = mask[..., None] > 0
  np.testing.assert_allclose(np.where(live, found, 0), np.where(live, wanted, 0), atol=1e-4)
