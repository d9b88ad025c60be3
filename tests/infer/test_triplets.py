import types

import jax
import jax.numpy as jnp
import pytest

from tests.data.test_triplets import write_clips
from vidx import errors
from vidx.data import datasets
from vidx.data.parts.triplets import image
from vidx.infer import load, triplets
from vidx.nn import conv
from vidx.train import config
import vidx


@pytest.fixture
def trunk(monkeypatch):
  """A random VGG in place of a run's."""
  model = vidx.create_model("vgg16", num_classes=0, widths=((4,), (6, 8)), hidden=())
  with conv.using("native"):
    variables = model.init(jax.random.PRNGKey(0), jnp.zeros((1, 128, 128, 3)))
    monkeypatch.setattr(load, "load_checkpoint", lambda workdir: types.SimpleNamespace(
        config=config.base(), model=model, variables=variables, dtype=jnp.float32))
    yield


def test_poses_are_told_by_a_trunk(trunk, tmp_path):
  root = str(write_clips(tmp_path, clips=2, frames=3))
  found = triplets.build(root, workdir="trunk", site="conv2.1", components=2, count=9, clusters=2, batch=4)
  assert found["triplets"] == 9 and found["images"] == 6 and "conv2.1" in found["features"]
  whole = triplets.build(root, workdir="trunk", site="conv2.1", components=0, clusters=2, batch=4)
  assert whole["triplets"] == 60
  for record in datasets.load("triplets", root, "train").records:
    clip = lambda path: path.split("/")[-2]
    assert clip(record.media.path) == clip(record.companions["target"].path) != clip(record.companions["pose"].path)
    assert record.media.path != record.companions["target"].path


@pytest.mark.parametrize("workdir, components", [("", 0), ("trunk", 2), ("trunk", 0)])
def test_poses_of_other_splits_are_in_clusters_of_training(workdir, components, trunk, tmp_path):
  write_clips(tmp_path, clips=3, frames=3)
  write_clips(tmp_path, "val", clips=3, frames=3)
  how = dict(workdir=workdir, site="conv2.1", components=components, clusters=3, batch=4)
  with pytest.raises(errors.DataError, match="clusters.npz does not exist"):
    triplets.clusters_of(str(tmp_path), 3)
  triplets.build(str(tmp_path), "val", **how)
  told = lambda split: [r.extra["clusters"][1] for r in datasets.load("triplets", str(tmp_path), split).records]
  assert set(told("val")) == {-1}
  for split in ("train", "val"):
    triplets.build(str(tmp_path), split, balance=split == "train", **how)
  of_image = {r.media.path.replace("train", "val"): r.extra["clusters"][0]
              for r in datasets.load("triplets", str(tmp_path), "train", draws=9).records}
  poses = [r.companions["pose"] for r in datasets.load("triplets", str(tmp_path), "val").records]
  assert told("val") == [of_image[m.path] for m in poses]  # the images of both splits are the same ones
  side = 128 if workdir else 64
  images = [image(m, side) for m in poses]
  assert triplets.clusters_of(str(tmp_path), 3)(images).tolist() == told("val")
  again = {**how, "workdir": workdir and f"./{workdir}/"}  # the same trunk
  there = triplets.build(str(tmp_path), "val", **again)["clusters"]
  assert there == 1 + max(of_image.values()) and -1 not in told("val")
  with pytest.raises(errors.ConfigError, match=f"{there} clusters? of poses, .*clusters={there - 1}"):
    triplets.clusters_of(str(tmp_path), there - 1)
  assert triplets.build(str(tmp_path), "val", **{**how, "workdir": "" if workdir else "trunk"})["clusters"] == 0
  assert set(told("val")) == {-1}
  for split in ("train", "val"):  # clusters of an earlier training tell nothing of a later one
    assert triplets.build(str(tmp_path), split, balance=False, **how)["clusters"] == 0
  assert set(told("val")) == {-1} and not (tmp_path / "triplets/clusters.npz").exists()


def test_sites_and_numbers_that_cannot_be_used_are_refused(trunk, tmp_path):
  root = str(write_clips(tmp_path, clips=2, frames=2))
  with pytest.raises(errors.ConfigError, match="nearest: 'conv2.1'"):
    triplets.build(root, workdir="trunk", site="conv2.2")
  with pytest.raises(errors.ConfigError, match="clusters=0"):
    triplets.build(root, clusters=0)


def test_one_video_alone_gives_no_triplets(tmp_path):
  with pytest.raises(errors.DataError, match="two videos"):
    triplets.build(str(write_clips(tmp_path, clips=1)), clusters=2)
