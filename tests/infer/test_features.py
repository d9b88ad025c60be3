"""Features of frames are those of the clips that evaluation shows; what they were made with is remembered."""

import shutil

import jax
import numpy as np
import pytest

from tests.data import tiny
from vidx import errors, systems
from vidx.data import clips
from vidx.data.records import Media, Record
from vidx.infer import features, load, save
from vidx.nn import augment


def trunk_of(workdir, seed=0, **data):
  """An untrained trunk of six features."""
  fields = dict(trunk="resnet_18", stages=(1,), widths=(6,), stem="small", num_classes=2)
  model = systems.create_model("tsn", **fields)
  variables = model.init(jax.random.PRNGKey(seed), np.zeros((1, 2, 16, 16, 3), np.float32), train=False)
  workdir.mkdir(exist_ok=True)
  save.save_model(str(workdir), "tsn", fields, variables, {"short_side": 20, "crop": 16, **data}, ("a", "b"))
  return str(workdir)


@pytest.mark.parametrize("data", [{}, dict(only_enlarge=True), dict(short_side=64, crop=48, only_enlarge=True),
                                  dict(whole=(16, 24)), dict(test_crop=20)], ids=str)
def test_they_are_of_what_evaluation_shows(tmp_path, data):
  path = tiny.write_video(tmp_path / "v.mp4", frames=3)  # of 48 x 64
  loaded = load.load_checkpoint(trunk_of(tmp_path / "trunk", **data))
  loaded.config.data.update(frames=3, sampler="consecutive")
  found, _, count = features.Extractor(loaded, window=1)(str(path))
  clip = clips.Clips(loaded.config.data).evaluate(Record("v", Media(str(path))))[0]
  x = augment.normalize(clip[:, None], loaded.config.data.mean, loaded.config.data.std, loaded.dtype)
  wanted = loaded.model.apply(loaded.variables, x, train=False)["features"]
  assert count == 3
  np.testing.assert_allclose(found, np.asarray(wanted).reshape(3, -1, 6).mean(1), rtol=1e-4, atol=1e-5)


def test_those_of_a_trunk_that_was_trained_anew_are_not_mixed_with_the_old(tmp_path):
  tiny.write_video(tmp_path / "videos" / "a.mp4", frames=2)
  made = lambda: features.extract(str(tmp_path / "trunk"), str(tmp_path / "videos"), str(tmp_path / "out"), window=1)
  trunk_of(tmp_path / "trunk")
  assert (made()["written"], made()["kept"]) == (1, 1)
  shutil.rmtree(tmp_path / "trunk")
  trunk_of(tmp_path / "trunk", seed=1)
  with pytest.raises(errors.DataError, match="made with another digest of the weights"):
    made()
