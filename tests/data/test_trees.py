import csv

import pytest

from vidx.data import trees

HAND = "(ROOT (NP (NP (DT a) (NN hand)) (PP (IN with) (NP (DT a) (NN donut))) (. .)))"
MAN = ("(ROOT (NP (NP (DT a) (NN man)) (SBAR (WHNP (WDT that)) (S (VP (VBZ is) (VP (VBG cutting) (NP (NP (NN sandwich))"
       " (PP (IN on) (NP (DT a) (NN table))))))))))")


def texts(found):
  """{phrase: that of its parent}."""
  return {p.text: found[p.parent].text if p.parent >= 0 else "" for p in found}


def test_brackets_go_there_and_back():
  tree = trees.parse(MAN)
  assert tree.brackets() == MAN and [w.word for w in tree.words()][-3:] == ["on", "a", "table"]
  assert trees.parse("( (NP (NN x)) )").children[0].label == "NP"


def test_phrases_with_a_noun_stay_and_point_to_the_one_that_holds_them():
  assert texts(trees.phrases(trees.parse(HAND))) == {
      "a hand with a donut": "", "a hand": "a hand with a donut", "with a donut": "a hand with a donut",
      "hand": "a hand", "a donut": "with a donut", "donut": "a donut"}


def test_chains_are_one_phrase_and_what_has_no_noun_is_gone():
  found = trees.phrases(trees.parse(MAN))
  said = texts(found)
  assert {"a man", "sandwich on a table", "sandwich", "a table", "on a table"} <= set(said)
  assert not {"on", "that is", "that", "a", "cutting"} & set(said) and len(found) == len(said) == 11
  assert said["sandwich"] == said["on a table"] == "sandwich on a table"
  assert trees.phrases(trees.parse("(ROOT (PP (IN on) (NP (PRP it))))")) == []


def test_the_first_phrases_are_those_nearest_to_the_root():
  all_of = trees.phrases(trees.parse(MAN))
  for most in range(1, 12):
    some = trees.phrases(trees.parse(MAN), most)
    assert some == all_of[:most] and all(p.parent < i for i, p in enumerate(some))


def test_nouns_are_the_leaves():
  assert trees.leaves(trees.parse(MAN)) == ["man", "sandwich", "table"]
  assert [p.text for p in trees.phrases(trees.parse(MAN)) if p.leaf] == ["man", "sandwich", "table"]
  assert trees.leaves(trees.parse("(NP (NN x) (-LRB- -LRB-) (NN -LRB-) (NNS xs) (NN x))")) == ["x", "xs"]


@pytest.mark.parametrize("text, words", [
    ("", "empty"), ("(NP (NN a)", "1 bracket"), ("(NP)", "nothing"), ("(NP (NN a)) x", "'x' at character 13"),
    ("(NN a b)", "'b' at character 7"), ("a", "outside"), ("(NP (NN a) b)", "one word or further"),
    ("(NP ())", "nothing"), ("(NP b (NN a))", "beside brackets")])
def test_broken_brackets_say_where(text, words):
  with pytest.raises(trees.BrokenTree, match=words) as e:
    trees.parse(text)
  assert "\n" not in str(e.value)


@pytest.mark.parametrize("sentence, expected", [
    ("a man that is cutting sandwich on a table",
     {"a man", "sandwich on a table", "sandwich", "a table", "on a table", "that is cutting sandwich on a table"}),
    ("A grey cat, staring at a hand with a donut.", {"a grey cat", "a hand with a donut", "a hand", "with a donut"}),
    ("a standing man in front of the building", {"a standing man", "the building", "in front of the building"}),
    ("two dogs and a red ball", {"two dogs", "a red ball"}), ("cows", {"cows"})])
def test_rules_cut_simple_captions_as_a_parser_would(sentence, expected):
  tree = trees.chunk(sentence)
  assert trees.parse(tree.brackets()) == tree
  found = {p.text for p in trees.phrases(tree)}
  assert expected <= found and trees.plain(sentence) in found and not {"on", "that is", "in front of"} & found


def test_without_a_word_there_is_nothing_to_cut():
  with pytest.raises(ValueError, match="without a word"):
    trees.chunk(" ... ")


@pytest.mark.parametrize("file, name", [("msrvtt_test.csv", "sentence"), ("validation_youcook.csv", "text")])
def test_rules_cut_real_sentences_into_phrases_of_their_words(real_data, file, name):
  with open(real_data("annotations") / "text_video" / file, encoding="utf-8-sig", newline="") as f:
    said = [row[name] for row in csv.DictReader(f)]
  count = 0
  for sentence in said:
    tree = trees.chunk(sentence)
    assert trees.parse(tree.brackets()) == tree
    found = trees.phrases(tree)
    whole = trees.plain(sentence)
    assert all(f" {p.text} " in f" {whole} " for p in found)
    assert all((p.parent < 0) == (i == 0) and len(p.text) <= len(whole) for i, p in enumerate(found))
    count += len(found) > 1
  assert count > 0.9 * len(said)  # nearly all have phrases within
