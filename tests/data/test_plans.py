"""Plans: pure in seed and epoch, balanced, mixed in turn, and followed by the pipeline exactly."""

import dataclasses

import numpy as np
import pytest

from tests.data import tiny
from vidx import errors
from vidx.data import examples, pipeline, plans


def balanced(length=0, cells=5, entries=40, seed=0):
  rng = np.random.default_rng(seed)
  rows = np.stack([np.arange(entries), rng.integers(0, 9, entries)], 1)
  return plans.Balanced(rows, rng.integers(0, cells, entries), length), rows


@pytest.mark.parametrize("make", [
    lambda: plans.Shuffled(np.arange(9)), lambda: balanced(23)[0],
    lambda: plans.Mixture([balanced(7)[0], plans.Shuffled(np.arange(5))], (40, 5), (2, 3))])
def test_an_epoch_is_a_function_of_seed_and_epoch(make):
  one, other = make(), make()
  other.draw(3, 1)  # what was asked before does not matter
  np.testing.assert_array_equal(one.draw(3, 4), other.draw(3, 4))
  assert len(one.draw(3, 4)) == len(one) and one.draw(3, 4).dtype == np.int32
  assert (one.draw(3, 4) != one.draw(3, 5)).any() and (one.draw(3, 4) != one.draw(4, 4)).any()
  assert one.fingerprint() == other.fingerprint()


def test_after_any_number_of_draws_cells_differ_by_one_at_most():
  rng = np.random.default_rng(0)
  cell = rng.integers(0, 7, 60) ** 2  # numbers with gaps
  plan = plans.Balanced(np.arange(60), cell, 200)
  drawn = cell[plan.draw(1, 2)[:, 0]]
  for n in range(1, 201):
    counts = [np.count_nonzero(drawn[:n] == c) for c in np.unique(cell)]
    assert max(counts) - min(counts) <= 1
  # Inside a cell every entry is as likely: 60 entries, 8,000 draws.
  many = plans.Balanced(np.arange(60), cell, 8000).draw(0, 0)[:, 0]
  for c in np.unique(cell):
    counts = np.bincount(many[cell[many] == c], minlength=60)[cell == c]
    assert counts.min() > 0.6 * counts.mean() and counts.max() < 1.5 * counts.mean()


def test_what_else_an_entry_says_stays_with_its_record():
  plan, rows = balanced(100)
  said = dict(rows.tolist())
  assert all(said[record] == other for record, other in plan.draw(0, 0).tolist())
  assert len(balanced()[0]) == 40


def test_a_mixture_takes_its_sets_in_turn_and_sees_all_of_each():
  plan = plans.Mixture([plans.Shuffled(np.arange(5)), plans.Shuffled(np.stack([np.arange(7), np.arange(7)], 1))],
                       (5, 7), (2, 1))
  assert len(plan) == 9
  first, second = [], []
  for epoch in range(7):
    turns = plan.draw(0, epoch).reshape(3, 3, 2)
    assert (turns[:, :2, 1] == -1).all() and (turns[:, 2, 0] == 5 + turns[:, 2, 1]).all()
    first += turns[:, :2, 0].reshape(-1).tolist()
    second += (turns[:, 2, 0] - 5).tolist()
  # 42 and 21 entries: streams of whole epochs, one behind the other
  assert all(sorted(first[i:i + 5]) == list(range(5)) for i in range(0, 40, 5))
  assert all(sorted(second[i:i + 7]) == list(range(7)) for i in range(0, 21, 7))


def test_what_cannot_be_drawn_is_refused():
  with pytest.raises(errors.DataError, match="no entries"):
    plans.Balanced(np.zeros((0, 3)), np.zeros(0))
  for counts in ((1,), (1, 0)):
    with pytest.raises(errors.ConfigError, match="2 sets takes as many"):
      plans.Mixture([plans.Shuffled(np.arange(2))] * 2, (2, 2), counts)


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
  """Ten videos, of which the odd ones are two and are drawn as often as the others."""
  found = tiny.dataset(tmp_path_factory.mktemp("planned"), 10)
  plan = plans.Balanced(np.arange(10), np.isin(np.arange(10), (1, 3)), 14)
  return dataclasses.replace(found, plan=plan)


def stream(dataset, count, start=0, process=(0, 1), state=None, **changes):
  with pipeline.train_batches(dataset, tiny.data_config(**changes), batch_size=4, seed=1, start=start,
                              process=process) as batches:
    if state is not None:
      batches.set_state(state)
    return [next(batches) for _ in range(count)], batches.get_state()


def test_batches_follow_the_plan_whoever_makes_them(planned):
  assert planned.epoch == 14
  whole, _ = stream(planned, 7)
  seen = np.concatenate([batch["index"] for batch in whole])
  np.testing.assert_array_equal(seen, np.concatenate([planned.plan.draw(1, e)[:, 0] for e in (0, 1)]))
  twice = [np.flatnonzero(seen[:14] == i) for i in (1, 3)]
  videos = np.concatenate([batch["video"] for batch in whole])
  assert any((videos[at[0]] != videos[at[1]]).any() for at in twice)  # another clip and crop each time
  _, state = stream(planned, 3)
  for other in (stream(planned, 4, state=state)[0], stream(planned, 4, start=3, workers=2)[0]):
    for a, b in zip(whole[3:], other):
      np.testing.assert_array_equal(a["video"], b["video"])
  halves = [stream(planned, 7, process=(i, 2))[0] for i in (0, 1)]
  for a, *parts in zip(whole, *halves):
    np.testing.assert_array_equal(a["video"], np.concatenate([p["video"] for p in parts]))


def test_a_run_does_not_go_on_with_another_plan(planned):
  other = dataclasses.replace(planned, plan=plans.Balanced(np.arange(10), np.arange(10) % 3, 14))
  assert len({planned.fingerprint(), other.fingerprint(), dataclasses.replace(planned, plan=None).fingerprint()}) == 3


def test_what_a_plan_chose_reaches_the_first_part(planned):
  made = examples.make(planned, tiny.data_config(), training=True)
  told = []
  made._first.make = lambda index, cut, rng, room, *more: told.append((index, *more)) or ({}, None)
  made.train(3, np.random.default_rng(0), 0, (5, 6))
  made.train(3, np.random.default_rng(0), 0)
  assert told == [(3, (5, 6)), (3,)]
