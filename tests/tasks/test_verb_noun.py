import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.data.records import Dataset, Media, Record, Target
from vidx.metrics import verb_noun

VERBS, NOUNS = ("take", "put"), ("cup", "pan", "lid")
LOGITS = {"verb": np.array([[2.0, 0], [0, 1]]), "noun": np.array([[0.0, 1, 0], [3, 0, 0]])}


def data(split="val", pairs=True):
  records = tuple(Record(f"s{i}", Media("v.mp4"), labels={"verb": v, "noun": n}, extra={"unseen": i == 1,
                                                                                        "tail_noun": n == 1})
                  for i, (v, n) in enumerate([(0, 1), (1, 2)]))
  return Dataset("kitchen", split, records, named={"verb": Target(VERBS), "noun": Target(NOUNS)},
                 facts={"pairs": np.array([[0, 2, 0], [0, 1, 3]])} if pairs else {})


def batch(verb=(0, 1), noun=(1, 2)):
  return {"label/verb": np.array(verb), "label/noun": np.array(noun), "weight": np.ones(2, "f"),
          "index": np.arange(2)}


def predictions(task):
  out = {k: np.asarray(v) for k, v in task.predict({"logits": jax.tree.map(jnp.asarray, LOGITS)}, batch()).items()}
  return {**out, **batch()}


def cross_entropy(logits, label):
  return np.log(np.exp(logits).sum()) - logits[label]


def test_the_loss_is_the_sum_of_both_cross_entropies():
  task = tasks.get("verb_noun", weights=(1.0, 0.5))
  total, terms = task.loss({"logits": LOGITS}, batch())
  np.testing.assert_allclose(terms["verb"], [cross_entropy(LOGITS["verb"][i], i) for i in (0, 1)], rtol=1e-5)
  np.testing.assert_allclose(total, terms["verb"] + terms["noun"], rtol=1e-6)
  np.testing.assert_allclose(terms["noun"][0], 0.5 * cross_entropy(LOGITS["noun"][0], 1), rtol=1e-5)


def test_an_unknown_noun_costs_nothing():
  _, terms = tasks.get("verb_noun").loss({"logits": LOGITS}, batch(noun=(1, -1)))
  assert terms["noun"][1] == 0 and terms["verb"][1] > 0


def test_metrics_are_those_of_verbs_nouns_and_actions_with_their_parts():
  task = tasks.get("verb_noun").for_dataset(data())
  found = task.metrics(predictions(task))
  want = verb_noun.evaluate(LOGITS["verb"], LOGITS["noun"], np.array([0, 1]), np.array([1, 2]),
                            unseen=np.array([False, True]), tail={"verb": [], "noun": [1]})
  assert found.keys() == want.keys()
  for key, value in want.items():
    np.testing.assert_allclose(found[key], value, err_msg=key)
  assert task.best_metric in found and all(name in found for name in tasks.headlines("verb_noun"))


def test_a_prior_takes_its_pairs_from_training():
  task = tasks.get("verb_noun", prior="known").for_dataset(data())
  assert task.metrics(predictions(task))["action/top-5"] == 100
  best = task.describe(predictions(task), 1, data())["action"]
  assert [b["label"] for b in best if b["score"] > 0] == ["put pan", "put lid", "take pan"]
  with pytest.raises(errors.ConfigError, match="'kitchen' does not say how often pairs occur"):
    tasks.get("verb_noun", prior="joint").for_dataset(data(pairs=False))


def test_a_clip_is_described_in_words():
  task = tasks.get("verb_noun")
  shown = task.describe(predictions(task), 0, data(), 2)
  assert [v["label"] for v in shown["verb"]] == ["take", "put"] and shown["action"][0]["label"] == "take pan"
  samples = task.samples(predictions(task), data(), 5)
  assert samples[0][1]["truth"] == ["take pan"] and samples[0][1]["right"] and not samples[1][1]["right"]
  assert task.nothing == {"verb": [], "noun": [], "action": []}
  assert task.details(predictions(task))["noun/count"].tolist() == [0, 1, 1]


@pytest.mark.parametrize("only", ["verb", "noun"])
def test_one_of_the_two_is_learned_alone(only):
  task = tasks.get("verb_noun", only=only).for_dataset(data())
  assert task.num_classes({"verb": 2, "noun": 3}) == {only: {"verb": 2, "noun": 3}[only]}
  _, terms = task.loss({"logits": {only: LOGITS[only]}}, batch())
  assert set(terms) == {only}
  found = task.metrics(predictions(task))
  assert task.best_metric == f"{only}/top-1" and set(found) == {f"{only}/{k}" for k in ("top-1", "top-5", "mean class")}
  assert task.samples(predictions(task), data(), 5) and set(task.nothing) == {only}


def test_the_task_fits_data_with_verbs_and_nouns_alone():
  assert tasks.from_config({"name": "verb_noun"}, data()).facts["unseen"].tolist() == [False, True]
  bare = dataclasses.replace(data(), named={"verb": Target(VERBS)})
  with pytest.raises(errors.ConfigError, match="learns the target 'noun', which data set 'kitchen' lacks"):
    tasks.from_config({"name": "verb_noun"}, bare)


@pytest.mark.parametrize("fields, words", [(dict(only="action"), "'action' is not verb or noun"),
                                           (dict(prior="mean"), "'mean' is not one of none, joint"),
                                           (dict(weights=(1.0,)), "one of the verb's loss")])
def test_a_wrong_field_is_one_clear_line(fields, words):
  with pytest.raises(errors.ConfigError, match=words):
    tasks.get("verb_noun", **fields)


def scored(dataset, **fields):
  task = tasks.get("verb_noun", **fields).for_dataset(dataset)
  return task, {k: v for k, v in predictions(task).items() if not k.startswith("label")}


def test_a_submission_is_told_back_to_the_same_probabilities():
  task, found = scored(data())
  made = task.submission(found, data(), {}, (2, 3, 4))
  assert (made["version"], made["sls_pt"], made["sls_tl"], made["sls_td"]) == ("0.2", 2, 3, 4)
  assert list(made["results"]) == ["s0", "s1"] and "action" not in made["results"]["s0"]
  for i, name in enumerate(made["results"]):
    for target in ("verb", "noun"):
      scores = np.array(list(made["results"][name][target].values()))
      np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(), found[f"scores/{target}"][i], rtol=1e-5)


def test_a_submission_lists_actions_where_a_prior_or_the_older_challenge_asks_for_them():
  task, found = scored(data(), prior="joint")
  listed = task.submission(found, data(), {})["results"]["s1"]["action"]
  assert set(listed) == {"0,1", "1,1", "1,2"}  # no pair that training does not know
  old = dataclasses.replace(data(), name="epic55")
  task, found = scored(old)
  made = task.submission(found, old, {})
  assert made["version"] == "0.1" and len(made["results"]["s0"]["action"]) == 6


@pytest.mark.parametrize("failures, facts, words", [
    ({"s1": "v.mp4: truncated"}, {}, "1 of the segments asked for cannot be decoded, such as 's1': v.mp4: truncated"),
    ({}, {"ids": ("s0", "s1", "s2")}, "1 of the segments asked for are missing, such as 's2'"),
])
def test_a_submission_without_all_segments_is_refused_in_one_line(failures, facts, words):
  dataset = dataclasses.replace(data(), facts=facts)
  task, found = scored(dataset)
  with pytest.raises(errors.DataError, match=words) as e:
    task.submission(found, dataset, failures)
  assert "\n" not in str(e.value)
