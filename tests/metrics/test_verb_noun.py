import csv

import numpy as np
import pytest

from vidx import errors
from vidx.metrics import verb_noun
from vidx.metrics.verb_noun import action_ranks, best_actions, evaluate, log_probabilities, prior, submission


@pytest.fixture
def split():
  rng = np.random.default_rng(0)
  return rng.normal(size=(40, 5)), rng.normal(size=(40, 7)), rng.integers(5, size=40), rng.integers(7, size=40)


def action_top_by_loops(verb_scores, noun_scores, verb, noun, k, mu):
  hits = 0
  for v, n, y_v, y_n in zip(verb_scores, noun_scores, verb, noun):
    p_v, p_n = np.exp(v) / np.exp(v).sum(), np.exp(n) / np.exp(n).sum()
    order = sorted(((i, j) for i in range(len(v)) for j in range(len(n))),
                   key=lambda pair: (-p_v[pair[0]] * p_n[pair[1]] * mu[pair], pair))
    hits += mu[y_v, y_n] > 0 and (y_v, y_n) in order[:k]
  return 100 * hits / len(verb)


@pytest.mark.parametrize("kind", verb_noun.PRIORS)
def test_actions_equal_the_loop_over_all_pairs(split, kind):
  rng = np.random.default_rng(1)
  mu = prior(kind, rng.integers(5, size=30), rng.integers(7, size=30), 5, 7)
  found = evaluate(*split, prior=mu)
  for k in (1, 5):
    want = action_top_by_loops(*split, k, np.ones((5, 7)) if mu is None else mu)
    assert found[f"action/top-{k}"] == pytest.approx(want)


def test_priors_are_frequencies_and_their_rows():
  verb, noun = np.array([0, 0, 0, 2, -1]), np.array([1, 1, 0, 2, 1])
  joint = prior("joint", verb, noun, 3, 3)
  np.testing.assert_allclose(joint, np.array([[1, 2, 0], [0, 0, 0], [0, 0, 1]]) / 4)
  np.testing.assert_allclose(prior("conditional", verb, noun, 3, 3), [[1 / 3, 2 / 3, 0], [0, 0, 0], [0, 0, 1]],
                             atol=1e-4)
  assert prior("none", verb, noun, 3, 3) is None
  with pytest.raises(ValueError, match="'both' is not one of none, joint, conditional, known"):
    prior("both", verb, noun, 3, 3)


def test_an_even_prior_changes_nothing_and_a_single_pair_is_always_the_best(split):
  assert evaluate(*split, prior=np.full((5, 7), 0.1)) == pytest.approx(evaluate(*split))
  only = np.zeros((5, 7))
  only[3, 2] = 0.5
  _, best = action_ranks(*(log_probabilities(s) for s in split[:2]), *split[2:], only)
  assert (best == [3, 2]).all()
  assert evaluate(*split, prior=only)["action/top-5"] == 100 * np.mean((split[2] == 3) & (split[3] == 2))


def test_a_pair_that_the_prior_excludes_is_never_right():
  """558 of the 5,281 validation segments of EPIC-55 have a pair that training does not: 89.43 % can be right."""
  verb, noun = np.zeros(5281, int), (np.arange(5281) < 558).astype(int)
  perfect = 50 * np.eye(2)
  mu = np.array([[1.0, 0.0], [0.5, 0.5]])
  found = evaluate(perfect[verb], perfect[noun], verb, noun, prior=mu)
  assert round(found["action/top-1"], 2) == 89.43 and found["noun/top-1"] == 100


@pytest.mark.parametrize("even", [None, np.ones((5, 7))])
def test_of_equal_pairs_the_lower_is_ahead(even):
  scores = [np.array([[0, 1, 1, 0, 1.0]]), np.zeros((1, 7))]
  rank = lambda verb, noun: action_ranks(*scores, np.array([verb]), np.array([noun]), even)[0][0]
  assert [rank(1, 0), rank(1, 4), rank(1, 5), rank(2, 0), rank(0, 0)] == [0, 4, 35, 35, 35]


def test_probabilities_and_logits_give_the_same(split):
  p = [np.exp(log_probabilities(s)) for s in split[:2]]
  assert evaluate(*p, *split[2:], probabilities=True) == pytest.approx(evaluate(*split))


def test_scores_far_below_the_others_still_have_an_order():
  scores = np.array([[900.0, -900.0, -905.0]])
  np.testing.assert_allclose(log_probabilities(scores), scores - 900)
  assert evaluate(scores, scores, np.array([2]), np.array([0]))["action/top-5"] == 100


def test_the_order_does_not_depend_on_the_other_segments(split):
  ids, values = best_actions(*split[:2])
  alone, own = best_actions(split[0][3:4], split[1][3:4])
  np.testing.assert_array_equal(alone[0], ids[3])
  np.testing.assert_allclose(own[0], values[3])


def test_the_challenge_s_list_holds_what_all_pairs_have_in_front():
  rng = np.random.default_rng(0)
  verb_scores, noun_scores = rng.normal(size=(30, 97)), rng.normal(size=(30, 300))
  verb, noun = rng.integers(97, size=30), rng.integers(300, size=30)
  ids, values = best_actions(verb_scores, noun_scores)
  assert ids.shape == (30, 100) and (np.diff(values, axis=1) <= 0).all()
  _, best = action_ranks(log_probabilities(verb_scores), log_probabilities(noun_scores), verb, noun)
  np.testing.assert_array_equal(ids[:, 0], best[:, 0] * 1000 + best[:, 1])


def test_precision_and_recall_equal_scikit_learn(split):
  sk = pytest.importorskip("sklearn.metrics")
  predicted = split[1].argmax(1)
  found = evaluate(*split, many_shot={"noun": [0, 1, 2]})
  kwargs = dict(labels=[0, 1, 2], average="macro", zero_division=0)
  assert found["noun/precision"] == pytest.approx(100 * sk.precision_score(split[3], predicted, **kwargs))
  assert found["noun/recall"] == pytest.approx(100 * sk.recall_score(split[3], predicted, **kwargs))


def test_mean_class_accuracy_is_not_that_of_segments():
  scores = np.eye(3)[[0, 0, 0, 1]] * 9
  found = evaluate(scores, scores, np.array([0, 0, 0, 2]), np.array([0, 0, 0, 1]))
  assert (found["verb/top-1"], found["verb/mean class"], found["action/mean class"]) == (75, 50, 50)
  assert found["noun/mean class"] == 100


def test_parts_count_their_own_segments():
  verb, noun = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
  right, wrong = np.array([9.0, 0]), np.array([0.0, 9])
  verbs = np.stack([right, wrong, right, right])  # the third is wrong
  nouns = np.stack([right, right, wrong, right])  # the fourth is wrong
  found = evaluate(verbs, nouns, verb, noun, unseen=np.array([1, 0, 0, 1]), tail={"verb": [1], "noun": [1]})
  assert (found["unseen/verb/top-1"], found["unseen/noun/top-1"], found["unseen/action/top-1"]) == (100, 50, 50)
  assert (found["tail/verb/top-1"], found["tail/noun/top-1"]) == (50, 50)
  assert found["tail/action/top-1"] == pytest.approx(100 / 3)


def test_unknown_labels_are_left_out_and_nothing_gives_nan(split):
  verb, noun = split[2].copy(), split[3].copy()
  verb[:10] = -1
  found = evaluate(*split[:2], verb, noun)
  assert found["verb/top-1"] == evaluate(*(x[10:] for x in split))["verb/top-1"]
  assert found["noun/top-1"] == evaluate(*split)["noun/top-1"]
  assert np.isnan(evaluate(*(x[:0] for x in split))["action/top-1"])


def test_arrays_that_do_not_belong_together_are_named(split):
  with pytest.raises(ValueError, match="40 and 39 rows of scores for 40 verbs"):
    evaluate(split[0], split[1][1:], *split[2:])
  with pytest.raises(ValueError, match=r"shape \(7, 5\) for 5 verbs and 7 nouns"):
    evaluate(*split, prior=np.ones((7, 5)))


def test_a_submission_has_the_scores_of_every_segment():
  made = submission(["P01_11_0", "P01_11_1"], np.eye(2, 3), np.eye(2, 4), actions=2)
  assert made["version"] == "0.2" and set(made) == {"version", "challenge", "sls_pt", "sls_tl", "sls_td", "results"}
  row = made["results"]["P01_11_1"]
  assert row["verb"] == {"0": 0.0, "1": 1.0, "2": 0.0} and list(row["noun"]) == ["0", "1", "2", "3"]
  assert list(row["action"])[0] == "1,1" and len(row["action"]) == 2


@pytest.mark.parametrize("ids, scores, words", [
    (["a"], np.ones((1, 2)), ["missing", "'b'"]), (["a", "a"], np.ones((2, 2)), ["row 2", "'a' stands twice"]),
    (["a", "b"], np.array([[1, 1], [1, np.nan]]), ["row 2", "'b' are not finite"])])
def test_a_submission_that_would_be_refused_is_one_clear_line(ids, scores, words):
  with pytest.raises(errors.DataError) as e:
    submission(ids, scores, scores, wanted=["a", "b"])
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)


# ---------------------------------------------------------------- EPIC-KITCHENS-100 as published


@pytest.fixture(scope="module")
def epic(real_data):
  folder = real_data("annotations/epic100")

  def rows(name):
    with open(folder / name, newline="") as f:
      return list(csv.DictReader(f))

  return rows


@pytest.fixture(scope="module")
def validation(epic):
  rows = epic("EPIC_100_validation.csv")
  verb, noun = (np.array([int(r[f"{k}_class"]) for r in rows]) for k in ("verb", "noun"))
  unseen = {r["participant_id"] for r in epic("EPIC_100_unseen_participant_ids_validation.csv")}
  tail = {k: [int(r[k]) for r in epic(f"EPIC_100_tail_{k}s.csv")] for k in ("verb", "noun")}
  return verb, noun, np.array([r["participant_id"] in unseen for r in rows]), tail


def test_the_validation_split_has_the_published_parts(validation):
  verb, noun, unseen, tail = validation
  rare = [np.isin(x, tail[k]) for x, k in ((verb, "verb"), (noun, "noun"))]
  assert (len(verb), unseen.sum()) == (9_668, 1_065)
  assert (rare[0].sum(), rare[1].sum(), (rare[0] | rare[1]).sum()) == (1_760, 1_900, 3_105)
  assert len(np.unique(verb * 1000 + noun)) == 1_352


def test_random_scores_give_chance_in_every_part(validation):
  verb, noun, unseen, tail = validation
  rng = np.random.default_rng(0)
  found = evaluate(rng.normal(size=(len(verb), 97)), rng.normal(size=(len(verb), 300)), verb, noun, unseen=unseen,
                   tail=tail)
  classes = {"verb": 97, "noun": 300, "action": 97 * 300}
  counts = {"unseen": dict.fromkeys(classes, 1_065), "tail": {"verb": 1_760, "noun": 1_900, "action": 3_105}}
  for key, value in found.items():
    *part, name, measure = key.split("/")
    if not measure.startswith("top-"):
      continue
    count = counts[part[0]][name] if part else len(verb)
    p = int(measure[4:]) / classes[name]
    if name == "action":
      assert value <= 100 * 8 * p + 0.3, key  # scores of pairs are not independent of each other
    else:
      assert abs(value / 100 - p) < 4 * (p * (1 - p) / count) ** 0.5, (key, value, p)


def test_perfect_scores_reach_the_ceiling_of_the_prior(epic, validation):
  verb, noun, _, _ = validation
  train = epic("EPIC_100_uda_source_train.csv")
  pairs = [np.array([int(r[f"{k}_class"]) for r in train]) for k in ("verb", "noun")]
  assert (len(train), len(np.unique(pairs[0] * 1000 + pairs[1]))) == (16_115, 1_663)
  scores = 50 * np.eye(97)[verb], 50 * np.eye(300)[noun]
  assert evaluate(*scores, verb, noun)["action/top-1"] == 100
  found = evaluate(*scores, verb, noun, prior=prior("conditional", *pairs, 97, 300))
  assert found["action/top-1"] == pytest.approx(100 * (1 - 977 / 9_668))
