import numpy as np
import pytest

from vidx import errors
from vidx.data import examples, experts
from vidx.data.records import Dataset, Media, Record, media_key
from vidx.train import config

RGB = np.arange(12, dtype=np.float32).reshape(4, 3)


def settings(**changes):
  c = config.base()
  c.data.update(experts=(("rgb", 3, 2), ("audio", 2, 2)), **changes)
  return c.data


def made(data, media, training=False, wanted=("text",), captions=("a", "b c")):
  dataset = Dataset("d", "train", (Record("v", media, extra={"captions": captions}),))
  return examples.make(dataset, data, training=training, wanted=("expert/rgb", *wanted))


@pytest.fixture
def store(tmp_path):
  np.savez(tmp_path / "v.npz", rgb=RGB, audio=np.full(2, np.nan))
  return Media(str(tmp_path / "v.npz"), "experts")


def test_what_an_expert_saw_stands_in_front_and_one_that_saw_nothing_has_no_token(store):
  example = made(settings(), store, wanted=()).evaluate(0, 0)
  np.testing.assert_array_equal(example["expert/rgb"], RGB[:2])
  assert example["expert_mask/rgb"].tolist() == [1, 1] and example["expert_mask/audio"].tolist() == [0, 0]


def test_a_random_choice_is_ordered_and_the_same_in_evaluation(store):
  parts = made(settings(expert_tokens="random"), store, training=True, wanted=())
  seen = {tuple(parts.train(0, np.random.default_rng(i), 0)["expert/rgb"][:, 0]) for i in range(30)}
  assert len(seen) == 6 and all(a < b for a, b in seen)
  evaluated = made(settings(expert_tokens="random"), store, wanted=())
  np.testing.assert_array_equal(*(evaluated.evaluate(0, 0)["expert/rgb"] for _ in range(2)))


@pytest.mark.parametrize("values, message", [
    (np.zeros((2, 5)), "5 features, not 3 as data.experts says"), (np.zeros((1, 1, 3)), "not .tokens, features"),
    (np.array([["x"]]), "no numbers"), (np.array([[1.0, np.inf, 0]]), "what is no number")])
def test_features_that_do_not_fit_are_named(tmp_path, values, message):
  np.savez(tmp_path / "v.npz", rgb=values)
  with pytest.raises(errors.DecodeError, match=message):
    made(settings(), Media(str(tmp_path / "v.npz"), "experts"), wanted=()).evaluate(0, 0)


def test_a_pickle_inside_is_not_run(tmp_path):
  np.savez(tmp_path / "v.npz", rgb=np.array([print], object))
  with pytest.raises(errors.DecodeError, match="no features of experts"):
    experts.read(Media(str(tmp_path / "v.npz"), "experts"), ("rgb",))


def test_a_video_without_any_expert_is_empty_and_one_without_a_file_is_an_error(tmp_path):
  np.savez(tmp_path / "v.npz", other=RGB)
  example = made(settings(), Media(str(tmp_path / "v.npz"), "experts"), wanted=()).evaluate(0, 0)
  assert not example["expert_mask/rgb"].any() and example["weight"] == 1
  with pytest.raises(errors.DecodeError, match="there are no features of experts"):
    experts.read(Media(str(tmp_path / "none.npz"), "experts"), ("rgb",))


def test_a_folder_per_expert_and_files_per_video_are_found(tmp_path):
  for name in ("rgb", "vggish"):
    (tmp_path / "experts" / name).mkdir(parents=True)
  np.save(tmp_path / "experts/rgb/a.npy", RGB)
  np.save(tmp_path / "experts/vggish/a.npy", RGB[:, :2])
  (tmp_path / "experts/v/i/d").mkdir(parents=True)
  np.savez(tmp_path / "experts/v/i/d/b.npz", rgb=RGB)
  stores = experts.Stores(str(tmp_path))
  assert stores.names() == ["a", "b"] and stores.find("c") is None
  np.save(tmp_path / "experts/rgb/c.npy", RGB)
  assert len({media_key(stores.find("a")), media_key(experts.Stores(str(tmp_path)).find("c")),
              media_key(stores.find("b"))}) == 3  # in one folder, but not one video
  assert {k: v.shape for k, v in experts.read(stores.find("a"), ("rgb", "audio")).items()} == {
      "rgb": (4, 3), "audio": (4, 2)}
  assert list(experts.read(stores.find("b"), ("rgb", "audio"))) == ["rgb"]


def test_what_data_features_wrote_of_videos_is_an_expert_named_by_its_folder(tmp_path):
  (tmp_path / "experts/rgb/features").mkdir(parents=True)
  np.save(tmp_path / "experts/rgb/features/a.npy", RGB)
  (tmp_path / "experts/rgb/features.json").write_text("{}")
  stores = experts.Stores(str(tmp_path))
  assert stores.names() == ["a"] and experts.named(stores.find("a")) == ["rgb"]
  for media in (stores.find("a"), experts.of_file(str(tmp_path / "videos/a.mp4"))):
    np.testing.assert_array_equal(experts.read(media, ("rgb", "audio"))["rgb"], RGB)


def test_files_of_hdf5_are_read_as_they_were_released(tmp_path):
  h5py = pytest.importorskip("h5py", reason="HDF5 needs the extra 'text'")
  with h5py.File(tmp_path / "v.h5", "w") as f:
    f["features.rgb"], f["features.vggish"] = RGB, np.zeros((0, 2), "f")
    f["raw_captions.0"] = np.array([b"a", b"dog"])
  found = experts.read(Media(str(tmp_path / "v.h5"), "experts"), ("rgb", "audio"))
  assert list(found) == ["rgb"] and found["rgb"].dtype == np.float32


def test_one_caption_is_drawn_in_training_and_all_are_there_in_evaluation(store, tmp_path):
  (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\nc\n")
  data = settings(root=str(tmp_path))
  data.text.update(tokenizer="words", length=5)
  parts = made(data, store, training=True)
  drawn = {tuple(parts.train(0, np.random.default_rng(i), 0)["text"]) for i in range(20)}
  assert drawn == {(2, 4, 3, 0, 0), (2, 5, 6, 3, 0)}
  example = made(data, store).evaluate(0, 0)
  assert example["text"].shape == (2, 5) and example["text_count"] == 2
  data.text.captions = "joined"
  example = made(data, store).evaluate(0, 0)
  assert example["text"].tolist() == [[2, 4, 5, 6, 3]] and example["text_count"] == 1
  none = made(data, store, captions=()).evaluate(0, 0)
  assert none["text_count"] == 0 and not none["text_mask"].any()


@pytest.mark.parametrize("changes, message", [
    (dict(experts=()), "write .name, features"), (dict(experts=(("rgb", 3),)), "write .name, features"),
    (dict(experts=((["rgb"], 3, 2),)), "write .name, features"),
    (dict(expert_tokens="last"), "'last' is not one of first, random")])
def test_a_wrong_section_is_one_line(changes, message):
  data = settings()
  data.update(changes)
  with pytest.raises(errors.ConfigError, match=message):
    examples.make(Dataset("d", "train", (Record("v", Media("v.npz", "experts")),)), data, training=True)
