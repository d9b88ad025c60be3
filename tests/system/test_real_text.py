"""Real sentences through tokenizer, text encoder and ranking: those of MSR-VTT 1k-A, YouCook2 and EPIC-KITCHENS."""

import csv

import jax
import numpy as np
import pytest

import vidx
from vidx.data import tokens
from vidx.metrics import retrieval, sentences
from vidx.nn import pool

BATCH = 512


def column(path, name):
  with open(path, encoding="utf-8-sig", newline="") as f:
    return [row[name] for row in csv.DictReader(f)]


@pytest.fixture(scope="module")
def embed(tmp_path_factory):
  """Texts -> unit vectors of a small encoder with random weights."""
  model = vidx.create_model("bert_base", vocab=9000, positions=32, dim=16, depth=1, heads=2, hidden=32, pooler=False)
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), np.zeros((1, 32), np.int32))

  @jax.jit
  def encode(variables, x, mask):
    return pool.mean_frames(model.apply(variables, x, mask=mask)["tokens"] * mask[..., None], mask)

  def run(texts, kind="words"):
    path = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    words = sorted({w for t in texts for w in sentences.words(t)})
    path.write_text("\n".join([*tokens.SPECIAL, *words]) + "\n", encoding="utf-8")
    tokenizer = tokens.Tokenizer(str(path), kind, 32)
    ids, mask = (np.stack(x) for x in zip(*map(tokenizer, texts)))
    assert len(words) < 8990 and mask.sum(1).min() >= 3 and (ids != 1).all()  # all words are known
    pad = lambda x: np.concatenate([x, np.zeros((-len(x) % BATCH, 32), x.dtype)]).reshape(-1, BATCH, 32)
    found = np.concatenate([encode(variables, *part) for part in zip(pad(ids), pad(mask))])[:len(texts)]
    found = found - found.mean(0)
    return found / np.linalg.norm(found, axis=1, keepdims=True)

  return run


def near(x, seed=0):
  """Vectors a little beside others: videos that are nearly what is said of them."""
  return x + 0.02 * np.random.default_rng(seed).normal(size=x.shape).astype(x.dtype)


@pytest.mark.parametrize("file, name, count", [("msrvtt_test.csv", "sentence", 1000),
                                               ("validation_youcook.csv", "text", 3350)])
def test_sentences_find_what_is_near_them(embed, real_data, file, name, count):
  said = column(real_data("annotations") / "text_video" / file, name)
  assert len(said) == count
  vectors = embed(said)
  found = retrieval.evaluate(vectors @ near(vectors).T)
  assert found["t2v/R@10"] > 20 > found["t2v/MdR"] and found["v2t/R@10"] > 20


def test_sentences_of_several_segments_find_one_of_them(embed, real_data):
  folder = real_data("annotations") / "epic100"
  said = column(folder / "EPIC_100_retrieval_test_sentence.csv", "narration")
  shown = column(folder / "EPIC_100_retrieval_test.csv", "narration")
  numbers = {text: i for i, text in enumerate(said)}
  groups = np.array([numbers[text] for text in shown])
  vectors = embed(said)
  similarity = vectors @ near(vectors[groups]).T
  assert similarity.shape == (3842, 9668)
  texts, videos = retrieval.ranks(similarity, np.array([numbers[text] for text in said]), groups)
  assert len(texts) == 3842 and len(videos) == 9668
  assert np.median(texts) < 50 and np.median(videos) < 50


def test_word_pieces_of_real_sentences_are_their_words_where_all_are_known(real_data, tmp_path):
  pytest.importorskip("tokenizers", reason="word pieces need the extra 'text'")
  said = column(real_data("annotations") / "text_video" / "msrvtt_test.csv", "sentence")
  words = sorted({w for t in said for w in sentences.words(t) if w.isascii() and w.isalnum()})
  (tmp_path / "vocab.txt").write_text("\n".join([*tokens.SPECIAL, *words]) + "\n", encoding="utf-8")
  by = {kind: tokens.Tokenizer(str(tmp_path / "vocab.txt"), kind, 32) for kind in tokens.KINDS}
  plain = [t for t in said if t.replace(" ", "").isascii() and t.replace(" ", "").isalnum()]
  assert len(plain) > 800
  for text in plain:
    np.testing.assert_array_equal(by["words"](text)[0], by["wordpiece"](text)[0])
