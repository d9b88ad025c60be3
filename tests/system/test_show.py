"""Pictures of what a model sees, by the command line."""

import json

from flax import linen as nn
import jax
import jax.numpy as jnp
import pytest

from tests.infer.test_predict import write_video
from vidx import cli
import vidx.nn as blocks
from vidx.infer import save
from vidx.systems import create_model

FIELDS = dict(num_classes=3, stages=(1,), width=4)
SITES = {"res2": "Glance"}


class Glance(nn.Module):
  """Passes x on and shows where it is strong."""

  @nn.compact
  def __call__(self, x, train=False):
    if self.is_mutable_collection("maps"):
      self.sow("maps", "attention", jnp.abs(x).mean(-1))
    return x


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """A folder with a run of a tiny model, a video and a broken file."""
  root = tmp_path_factory.mktemp("show")
  (root / "run").mkdir()
  variables = jax.jit(create_model("resnet_18", **FIELDS).init)(jax.random.PRNGKey(0), jnp.ones((1, 2, 32, 32, 3)))
  save.save_model(str(root / "run"), "resnet_18", {**FIELDS, "sites": SITES}, variables,
                  dict(frames=2, short_side=32, crop=32), ["up", "down", "left"])
  write_video(root / "v.mp4", (200, 40, 90))
  (root / "bad.mp4").write_text("no video")
  return root


@pytest.fixture(autouse=True)
def known(monkeypatch):
  monkeypatch.setattr(blocks, "Glance", Glance, raising=False)


def test_pictures_of_videos_come_as_files_and_one_page(files, tmp_path, capsys):
  out = tmp_path / "pictures"
  assert cli.main(["predict", f"--workdir={files / 'run'}", "--show=input,attention,gradcam", "--json", f"--out={out}",
                   str(files / "v.mp4"), str(files / "bad.mp4")]) == 1
  said = capsys.readouterr()
  found = json.loads(said.out)
  assert f"pictures: {out / 'index.html'}" in said.err
  assert sorted(p.name for p in out.iterdir()) == ["index.html", "v.mp4", "v.png"]
  html = (out / "index.html").read_text()
  assert "input, attention at res2, gradcam at res2" in html and "Cannot be read" in html
  assert f"Grad-CAM explains {found[0]['predictions'][0]['label']}" in html


@pytest.mark.parametrize("flags, words", [
    (["--show=grdcam"], ["grdcam", "nearest: 'gradcam'", "band_pass"]),
    (["--show=attention,squeezed"], ["resnet_18 does not produce it", "input, attention, gradcam"]),
    (["--show=gradcam", "--site=res9"], ["--site=res9", "res2"]),
    (["--beside=elsewhere"], ["--beside", "add --show"]),
    (["--show=input", "--beside=elsewhere"], ["elsewhere", "not the folder of a run"]),
    (["--show=input", "--window=5"], ["--window changes nothing for system"]),
    (["--show=input", "--stride=2"], ["--stride changes nothing for system"]),
    (["--show=input", "--trunk={run}"], ["--trunk changes nothing for system"]),
    (["--phrase=a dog", "--views=2x1"], ["--views changes nothing for system", "with --phrase"]),
])
def test_what_cannot_be_shown_is_refused_before_anything_is_written(files, tmp_path, capsys, flags, words):
  out = tmp_path / "pictures"
  flags = [flag.format(run=files / "run") for flag in flags]
  assert cli.main(["predict", f"--workdir={files / 'run'}", *flags, f"--out={out}", str(files / "v.mp4")]) == 2
  said = capsys.readouterr()
  assert not said.out and said.err.count("\n") == 1 and all(w in said.err for w in words)
  assert not out.exists() and not (files / "run" / "maps").exists()


def test_a_file_is_not_taken_for_the_folder_of_the_pictures(files, capsys):
  assert cli.main(["predict", f"--workdir={files / 'run'}", "--show=input", f"--out={files / 'v.mp4'}",
                   str(files / "v.mp4")]) == 2
  assert "is a file" in capsys.readouterr().err
