import os
import subprocess
import sys

import numpy as np
import pytest

from vidx.metrics import retrieval


def ranks_by_sorting(similarity, owner):
  """The rule word for word: sort, and take the mean of the places that equal values have."""

  def places(values, right):
    ordered = -np.sort(-values)
    return min(np.flatnonzero(ordered == values[i]).mean() for i in right)

  kept = np.flatnonzero(owner >= 0)
  texts = [places(similarity[i], [owner[i]]) for i in kept]
  videos = [places(similarity[kept, j], np.flatnonzero(owner[kept] == j))
            for j in range(similarity.shape[1]) if (owner == j).any()]
  return np.array(texts), np.array(videos)


def test_ties_share_the_mean_of_their_places_and_are_no_hit_at_one():
  found = retrieval.evaluate(np.array([[2, 1, 1], [1, 1, 1], [2, 2, 2.0]]))
  rounded = {k: round(v, 3) for k, v in found.items()}
  assert (rounded["t2v/R@1"], rounded["t2v/MdR"], rounded["t2v/MnR"]) == (33.333, 2, 1.667)
  assert (rounded["v2t/R@1"], rounded["v2t/MdR"], rounded["v2t/MnR"]) == (33.333, 1.5, 1.667)
  texts, videos = retrieval.ranks(np.array([[2, 1, 1], [1, 1, 1], [2, 2, 2.0]]))
  assert texts.tolist() == [0, 1, 1] and videos.tolist() == [0.5, 1.5, 0]


def test_nothing_is_found_where_all_are_equal():
  found = retrieval.evaluate(np.zeros((1000, 1000), np.float32))
  for way in ("t2v", "v2t"):
    assert (found[f"{way}/R@1"], found[f"{way}/MdR"], found[f"{way}/MnR"]) == (0, 500.5, 500.5)


def test_chance_is_chance():
  found = retrieval.evaluate(np.random.default_rng(0).normal(size=(1000, 1000)))
  assert found["t2v/R@1"] < 0.6 and 450 < found["t2v/MdR"] < 550 and 450 < found["v2t/MdR"] < 550


def test_a_perfect_similarity_is_perfect():
  found = retrieval.evaluate(np.eye(12))
  assert found["t2v/R@1"] == found["v2t/R@1"] == 100 and found["t2v/gmean"] == pytest.approx(100)
  assert found["t2v/MdR"] == found["t2v/MnR"] == 1


@pytest.mark.parametrize("block", [1 << 24, 40])
def test_several_and_missing_texts_of_a_video_equal_the_sorted_lists(block, monkeypatch):
  monkeypatch.setattr(retrieval, "BLOCK", block)
  rng = np.random.default_rng(1)
  similarity = rng.integers(0, 6, (60, 20)).astype(np.float32)  # many ties
  owner = np.append(np.arange(20).repeat(3)[:57], [-1, 4, -1])
  owner[owner == 7] = 8  # a video without any text
  for found, wanted in zip(retrieval.ranks(similarity, owner), ranks_by_sorting(similarity, owner)):
    np.testing.assert_array_equal(found, wanted)


def test_a_text_that_is_missing_is_no_candidate():
  similarity = np.array([[1.0, 0], [0, 1], [9, 9]])
  assert retrieval.evaluate(similarity, np.array([0, 1, -1]))["v2t/R@1"] == 100


def test_a_sentence_of_several_videos_counts_by_the_best_of_them():
  similarity = np.array([[0.9, 0.1, 0.5], [0.2, 0.3, 0.8]])
  texts, videos = retrieval.ranks(similarity, np.array([0, 1]), groups=np.array([0, 1, 0]))
  assert texts.tolist() == [0, 1] and videos.tolist() == [0, 0, 1]


def test_ranks_of_the_transpose_are_those_of_the_other_direction():
  similarity = np.random.default_rng(2).integers(0, 9, (30, 30)).astype(np.float64)
  a, b = retrieval.ranks(similarity), retrieval.ranks(similarity.T)
  np.testing.assert_array_equal(a[0], b[1])
  np.testing.assert_array_equal(a[1], b[0])


@pytest.mark.parametrize("owner, groups, message", [
    (None, None, "3 texts and 2 videos are no pairs"), (np.arange(2), None, "do not fit 3 texts"),
    (np.arange(3), np.arange(3), "do not fit")])
def test_shapes_that_do_not_fit_are_told(owner, groups, message):
  with pytest.raises(ValueError, match=message):
    retrieval.ranks(np.zeros((3, 2)), owner, groups)


def test_a_similarity_that_is_no_number_is_an_error():
  with pytest.raises(ValueError, match="not a number"):
    retrieval.evaluate(np.array([[np.nan, 0], [0, 1]]))


def embeddings(rng, texts=9, videos=7, experts=3, centres=4, channels=5):
  unit = lambda *shape: (lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True))(rng.normal(size=shape))
  weights = rng.dirichlet(np.ones(experts), texts)
  available = (rng.uniform(size=(videos, experts)) < 0.6).astype(float)
  available[0] = 0
  text = {"global": unit(texts, experts, channels), "local": unit(texts, centres, channels), "weights": weights}
  return text, {"global": unit(videos, experts, channels), "local": unit(videos, centres, channels),
                "available": available}


def scored_by_loops(text, video, i, j):
  share = text["weights"][i] * video["available"][j]
  share = share / max(share.sum(), 1e-5)
  assert abs(share.sum() - 1) < 1e-9 or not video["available"][j].any()
  experts = sum(w * a @ b for w, a, b in zip(share, text["global"][i], video["global"][j]))
  one, other = text["local"][i].ravel(), video["local"][j].ravel()
  return experts, one @ other / np.linalg.norm(one) / np.linalg.norm(other)


@pytest.mark.parametrize("block", [2, 4096])
def test_factored_scores_equal_those_of_each_pair(block):
  text, video = embeddings(np.random.default_rng(3))
  both = np.array([[scored_by_loops(text, video, i, j) for j in range(7)] for i in range(9)])
  score = lambda *parts: retrieval.similarity(text, video, parts, block)
  np.testing.assert_allclose(score(), both.mean(-1), atol=1e-5)
  np.testing.assert_allclose(score("global"), both[..., 0], atol=1e-5)
  np.testing.assert_allclose(score("local"), both[..., 1], atol=1e-5)
  assert not score("global")[:, 0].any()  # a video without any expert
  with pytest.raises(ValueError, match="no local"):
    retrieval.similarity({"global": text["global"]}, video, ("local",))


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted in KiB on Linux")
def test_59794_texts_and_4000_videos_are_ranked_in_less_than_4_gib():
  code = """
import numpy as np, resource
from vidx.metrics import retrieval
s = np.random.default_rng(0).random((59_794, 4_000), np.float32)
found = retrieval.evaluate(s, np.arange(59_794) % 4_000)
assert 0 < found["t2v/R@5"] < 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
  assert int(done.stdout) < 4 << 20
