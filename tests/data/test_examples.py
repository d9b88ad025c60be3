"""Batches of feature sequences: buckets, order, targets, and files that cannot be read."""

import numpy as np
import pytest

from tests.data import features
from vidx import errors
from vidx.data import batch as batch_lib, datasets, examples, pipeline
from vidx.data.parts.features import bucket


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("sequences") / "videos"
  return root, features.write(root, train=21, val=5, most=400)


def split(root, name="train", **changes):
  data = features.settings(root, feature_size=features.SIZE, **changes).data
  return datasets.load("segments", str(root), name), data


def train(root, batch_size=4, seed=1, start=0, process=(0, 1), **changes):
  dataset, data = split(root, **changes)
  return pipeline.train_batches(dataset, data, batch_size=batch_size, seed=seed, start=start, process=process)


def take(batches, count):
  with batches:
    return [next(batches) for _ in range(count)]


def assert_equal(a, b):
  assert a.keys() == b.keys() and a["id"] == b["id"]
  for key in a.keys() - {"id"}:
    np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_buckets_are_few_multiples():
  sizes = sorted({bucket(n, 32, 1.5) for n in range(1, 10001)})
  assert sizes[:8] == [32, 64, 96, 160, 256, 384, 576, 864] and len(sizes) == 14
  assert all(n <= bucket(n, 32, 1.5) for n in range(1, 2000)) and all(s % 32 == 0 for s in sizes)
  assert [bucket(n, 8, 1.0) for n in (1, 8, 9, 17)] == [8, 8, 16, 24]


def test_a_batch_holds_the_videos_as_they_are(folder):
  root, labels = folder
  for batch in take(train(root), 6):
    batch_lib.validate(batch)
    longest = max(len(labels[i]) for i in batch["id"])
    assert batch["features"].shape == (4, bucket(longest, 32, 1.5), features.SIZE)
    for b, name in enumerate(batch["id"]):
      y, n = labels[name], len(labels[name])
      order = [c for i, c in enumerate(y) if i == 0 or y[i - 1] != c]
      assert batch["length"][b] == n and batch["weight"][b] == batch["full"][b] == 1
      np.testing.assert_array_equal(batch["features"][b, :n], np.load(root / f"features/{name}.npy"))
      np.testing.assert_array_equal(batch["frame_label"][b], np.r_[y, np.full(len(batch["features"][b]) - n, -1)])
      np.testing.assert_array_equal(batch["transcript"][b], [*order, *[-1] * (8 - len(order))])
      np.testing.assert_array_equal(np.flatnonzero(batch["label"][b]), sorted(set(order)))
      assert not batch["features"][b, n:].any()


def test_batches_are_of_similar_length_and_an_epoch_shows_every_video_once(folder):
  root, labels = folder
  batches = take(train(root, batch_size=3), 14)
  for epoch in (batches[:7], batches[7:]):
    assert sorted(i for b in epoch for i in b["index"]) == list(range(21))
  spread = lambda chosen: np.mean([np.ptp([len(labels[i]) for i in ids]) for ids in chosen])
  mixed = np.array([f"v{i}" for i in pipeline.permutation(1, 0, 21)]).reshape(7, 3)
  assert spread([b["id"] for b in batches[:7]]) < 0.7 * spread(mixed)
  assert [b["id"] for b in batches[:7]] != [b["id"] for b in batches[7:]]


def test_batches_that_reach_into_the_next_epoch_show_every_video_once(folder):
  stream = [i for b in take(train(folder[0], batch_size=4), 21) for i in b["index"]]
  assert all(sorted(stream[e * 21:(e + 1) * 21]) == list(range(21)) for e in range(4))


def test_the_stream_is_a_function_of_seed_and_position(folder):
  root, _ = folder
  whole = take(train(root), 7)
  assert_equal(whole[5], take(train(root, start=5), 1)[0])
  assert_equal(whole[6], take(train(root, workers=1), 7)[6])
  assert whole[0]["id"] != take(train(root, seed=2), 1)[0]["id"]


def test_processes_share_a_batch_of_one_length(folder):
  root, _ = folder
  parts = [take(train(root, process=(i, 2)), 5) for i in (0, 1)]
  for whole, a, b in zip(take(train(root), 5), *parts):
    assert a["features"].shape == b["features"].shape
    assert_equal(whole, {k: [*a[k], *b[k]] if k == "id" else np.concatenate([a[k], b[k]]) for k in a})


@pytest.mark.parametrize("share, count", [(0.0, 0), (0.01, 1), (0.5, 10), (1.0, 21)])
def test_a_share_of_the_videos_shows_its_frame_labels(folder, share, count):
  batches = take(train(folder[0], batch_size=3, full_share=share), 14)
  full = [{i for b in epoch for i, f in zip(b["id"], b["full"]) if f} for epoch in (batches[:7], batches[7:])]
  assert len(full[0]) == count and full[0] == full[1]
  for b in batches:
    np.testing.assert_array_equal((b["frame_label"] >= 0).any(1), b["full"] > 0)
  if share == 0.5:
    other = take(train(folder[0], batch_size=3, full_share=share, seed=2), 7)
    assert full[0] != {i for b in other for i, f in zip(b["id"], b["full"]) if f}


def test_evaluation_goes_in_order_with_all_labels_and_pads_with_weight_0(folder):
  root, labels = folder
  dataset, data = split(root, "val", full_share=0.0)
  a, b = pipeline.eval_batches(dataset, data, batch_size=3)
  assert a["id"] + b["id"] == ["v21", "v22", "v23", "v24", "v25", ""] and b["weight"].tolist() == [1, 1, 0]
  assert b["full"].tolist() == [1, 1, 0] and b["index"].tolist() == [3, 4, -1]
  assert not b["features"][2].any() and (b["frame_label"][2] == -1).all() and not b["label"][2].any()
  parts = [list(pipeline.eval_batches(dataset, data, batch_size=4, process=(i, 2))) for i in (0, 1)]
  assert [len(p) for p in parts] == [2, 2] and parts[0][0]["features"].shape == parts[1][0]["features"].shape
  assert parts[1][1]["weight"].tolist() == [0, 0]


@pytest.fixture
def damaged(tmp_path):
  labels = features.write(tmp_path / "videos", train=6, val=2)
  root = tmp_path / "videos"
  (root / "features/v1.npy").write_bytes((root / "features/v1.npy").read_bytes()[:200])  # cut off
  x = np.load(root / "features/v7.npy")
  x[2, 3] = np.nan
  np.save(root / "features/v7.npy", x)
  return root, labels


def test_a_broken_file_is_named_and_gives_its_place_to_one_that_fits(damaged):
  root, labels = damaged
  batches = train(root, batch_size=2, max_failures=0.2)
  made = take(batches, 9)
  assert list(batches.failures) == ["v1"] and "v1.npy cannot be read" in batches.failures["v1"]
  for b in made:
    assert "v1" not in b["id"] and (b["length"][b["weight"] > 0] == [len(labels[i]) for i in b["id"] if i]).all()
  with pytest.raises(errors.DataError, match="1 of 6 videos cannot be decoded"):
    take(train(root, batch_size=2, max_failures=0.1), 9)


def test_where_no_other_fits_the_place_of_a_broken_file_is_empty(damaged):
  root, _ = damaged
  x = np.zeros((10, features.SIZE), "f")
  np.save(root / "features/v1.npy", np.where(x == 0, np.nan, x))  # alone in the least bucket
  np.save(root / "labels/v1.npy", np.zeros(10, int))
  for i in (0, 2, 3, 4, 5):
    np.save(root / f"features/v{i}.npy", np.ones((40, features.SIZE), "f"))
    np.save(root / f"labels/v{i}.npy", np.zeros(40, int))
  made = take(train(root, batch_size=1, max_failures=1.0), 6)
  assert sorted((b["features"].shape[1], float(b["weight"][0])) for b in made) == [(32, 0.0)] + [(64, 1.0)] * 5


def test_a_broken_file_keeps_its_place_in_evaluation(damaged):
  dataset, data = split(damaged[0], "val")
  batches = pipeline.eval_batches(dataset, data, batch_size=2)
  batch, = batches
  assert batch["id"] == ["v6", "v7"] and batch["weight"].tolist() == [1, 0] and batch["index"].tolist() == [0, 1]
  assert "frame 2 holds no numbers" in batches.failures["v7"]


def test_what_a_system_is_called_with(folder):
  dataset, data = split(folder[0])
  example = examples.make(dataset, data, training=True).evaluate(0, 64 * 9)
  model = features.Framewise()
  full = batch_lib.inputs(model, example)
  assert [x is None for x in full] == [False] * 4
  bare = {k: v for k, v in example.items() if not batch_lib.is_target(k)}
  assert [x is None for x in batch_lib.inputs(model, bare)] == [False, False, True, True]
  shapes = examples.input_shapes(model, data, np.float32, 4)
  assert [s.shape for s in shapes] == [(1, 64, features.SIZE), (1,), (1, 4), (1, 64)]
  data.feature_size = 0
  with pytest.raises(errors.ConfigError, match="data.feature_size is 0"):
    examples.input_shapes(model, data, np.float32, 4)
  data.feature_size = 9
  with pytest.raises(errors.ConfigError, match="data.feature_size is 9, but the files .* have 6"):
    examples.with_feature_size(data, dataset)


@pytest.mark.parametrize("change", [dict(bucket_growth=0.5), dict(bucket_multiple=0), dict(full_share=1.5)])
def test_settings_that_mean_nothing_are_errors(folder, change):
  with pytest.raises(errors.ConfigError, match=next(iter(change))):
    train(folder[0], **change)


def test_a_check_opens_every_file_of_features(damaged):
  from vidx.data import check
  found = check.check("segments", str(damaged[0]))
  assert found["splits"]["train"]["frames"]["total"] == sum(len(damaged[1][f"v{i}"]) for i in (0, 2, 3, 4, 5))
  assert [b["id"] for b in found["bad"]] == ["v1", "v7"] and "frame 2 holds no numbers" in found["bad"][1]["reason"]
