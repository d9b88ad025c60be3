"""Kernels that look at pixels: which they are, at the start and now, and how they are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.backbones import promises
from vidx import cli
from vidx.infer import load, save
from vidx.nn import band_pass
from vidx.show import kernels
from vidx.systems import create_model

SMALL = dict(num_classes=3, stages=(1,), width=4)


def saved(folder, name, fields, shape, change=lambda params: params):
  """A run of a tiny model, loaded."""
  folder.mkdir()
  variables = promises.some_variables(create_model(name, **fields), jnp.ones(shape))
  variables = {**variables, "params": change(variables["params"])}
  data = dict(frames=shape[1] // 3, consecutive=3, short_side=32, crop=32)
  save.save_model(str(folder), name, fields, variables, data, ["up", "down", "left"])
  return load.load_checkpoint(str(folder)), variables["params"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A tiny Busy-Quiet Net whose band-pass kernel was doubled by its training."""
  fields = dict(SMALL, trunk="tsm", block="basic", quiet_size=32, size=5)
  double = lambda params: {**params, "band_pass": jax.tree.map(lambda x: 2 * x, params["band_pass"])}
  folder = tmp_path_factory.mktemp("runs") / "bqn"
  return folder, *saved(folder, "bqn", fields, (1, 6, 32, 32, 3), double)


def test_first_convolutions_and_the_band_pass_module_of_pixels_are_found(run):
  _, loaded, params = run
  found = kernels.of(loaded)
  start, now = (v for k, v in found.items() if k.startswith("band_pass, a kernel per channel"))
  log = band_pass.laplacian_of_gaussian(5, 1.1).astype(np.float32)
  np.testing.assert_allclose(start, np.stack([log] * 3), rtol=1e-6)
  np.testing.assert_allclose(now, np.moveaxis(np.asarray(params["band_pass"]["spatial"]), -1, 0), rtol=1e-6)
  first = {k: v for k, v in found.items() if "first channel" in k}
  assert sorted(k.split("/")[0] for k in first) == ["busy", "quiet"] and len(found) == 4
  for name, values in first.items():
    own = params
    for part in name.partition(",")[0].split("/"):
      own = own[part]
    np.testing.assert_array_equal(values, np.moveaxis(np.asarray(own["kernel"])[..., 0, :], -1, 0))


def test_of_three_dimensions_the_middle_in_time_is_shown(tmp_path):
  loaded, params = saved(tmp_path / "r3d", "r3d_18", dict(num_classes=3, stages=(1,), width=4), (1, 6, 32, 32, 3))
  (name, values), = kernels.of(loaded).items()
  own = params
  for part in name.partition(",")[0].split("/"):
    own = own[part]
  middle = np.asarray(own["kernel"])[len(own["kernel"]) // 2]
  np.testing.assert_array_equal(values, np.moveaxis(middle[..., 0, :], -1, 0))


def test_zero_is_white_and_each_kernel_has_its_own_scale():
  values = np.zeros((3, 4, 4), np.float32)
  values[0, 0, 0], values[1, 0, 0], values[1, 3, 3] = 5.0, -0.01, 0.01
  shown = kernels.picture(values)
  size = 4 * round(kernels.WIDTH / 2 / 4) + kernels.MARGIN
  assert shown.shape == (2 * size + kernels.MARGIN, 2 * size + kernels.MARGIN, 3)
  at = lambda row, column: shown[row + kernels.MARGIN, column + kernels.MARGIN].astype(int)
  assert at(0, 0)[0] > at(0, 0)[2] and at(0, size)[2] > at(0, size)[0]
  last = size - kernels.MARGIN - 1
  np.testing.assert_array_equal(at(last, size + last), at(0, 0))
  assert (at(size, 0) > 240).all() and (at(size, size) == 255).all()


def test_the_report_draws_them_where_it_is_asked_to(run, capsys):
  folder = run[0]
  (folder / "metrics.jsonl").write_text('{"step": 1, "split": "train", "epoch": 0.1, "loss": 1.0}')
  assert cli.main(["report", f"--workdir={folder}", "--kernels"]) == 0
  html = (folder / "report.html").read_text()
  assert capsys.readouterr().out.strip() == str(folder / "report.html")
  assert "band_pass, a kernel per channel, at the start" in html and "the first channel of 4 filters" in html
  assert cli.main(["report", f"--workdir={folder}"]) == 0
  assert "Kernels" not in (folder / "report.html").read_text()
