import pytest

from vidx.metrics import sentences

SAID = ["a man is playing a guitar on the stage", "a woman cooks in the kitchen", "the dog runs across a green field",
        "two people are talking to each other", "a cartoon character is dancing"]
RIGHT = [["a man plays a guitar on the stage", "someone is playing a guitar on a stage"],
         ["a woman is cooking in the kitchen", "a woman cooks something in the kitchen"],
         ["a dog runs across the field", "the dog runs across a green field quickly"],
         ["two people are talking to one another", "two men are talking to each other"],
         ["a cartoon is dancing", "an animated character is dancing"]]


def split(texts):
  return [sentences.words(t) for t in texts]


def test_five_sentences_score_as_sacrebleu_says():
  library = pytest.importorskip("sacrebleu", reason="the reference scorer is in the extra 'text'")
  for orders in range(1, 5):
    scorer = library.BLEU(tokenize="none", smooth_method="none", max_ngram_order=orders)
    expected = scorer.corpus_score(SAID, [list(r) for r in zip(*RIGHT)]).score
    assert sentences.bleu(split(SAID), [split(r) for r in RIGHT], orders) == pytest.approx(expected, abs=1e-9)


def test_the_same_sentences_are_perfect_and_others_are_nothing():
  assert sentences.bleu(split(SAID), [split([s]) for s in SAID]) == pytest.approx(100)
  assert sentences.bleu(split(SAID), [[["x"]]] * 5) == 0


def test_the_shorter_of_two_references_equally_near_counts():
  own, near = ["a", "b", "c", "d"], [["a", "b", "c", "d", "e", "f"], ["a", "b"]]
  assert sentences.bleu([own], [near], 1) == pytest.approx(100)
  assert sentences.bleu([own], [near[:1]], 1) == pytest.approx(60.653, abs=1e-3)  # exp(1 - 6 / 4)


def test_sentences_without_references_are_left_out():
  assert sentences.bleu([["a"], ["b"]], [[["a"]], []], 1) == pytest.approx(100)
