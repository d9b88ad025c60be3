"""Optical flow from images on the disk: layouts, values, mirrors, and a run of two streams."""

import json

import cv2
import numpy as np
import pytest

from tests.data import tiny
from vidx import cli, errors
from vidx.data import batch, clips, flow_frames, pipeline, record_table, transforms
from vidx.data.records import Media, Record
from vidx.infer import evaluate, explain, fuse, load, predict, savings
from vidx.show import maps
from vidx.train import config, loop

LAYOUTS = ["flow/{name}/flow_{axis}_{index}.jpg", "tvl1/{axis}/{name}/frame{index}.jpg", "{id}/{axis}-{index}.png"]


def write(root, pattern, record, frames=6, axes="xy", seed=0, size=(48, 64)):
  """Grey levels 100 + n to the side and 150 + n down for image n, and what was written (frames, 2)."""
  for axis, level in zip(axes, (100, 150)):
    for n in range(frames):
      name = record.rpartition(".")[0]
      path = root / (pattern.replace("{id}", name).replace("{name}", name.split("/")[-1]).replace("{axis}", axis)
                     .replace("{index}", f"{n + 1:05d}"))
      path.parent.mkdir(parents=True, exist_ok=True)
      cv2.imwrite(str(path), np.full(size, level + 8 * seed + n, np.uint8))


@pytest.mark.parametrize("pattern, axes", [(LAYOUTS[0], "xy"), (LAYOUTS[1], "uv"), (LAYOUTS[2], "xy")])
def test_both_axes_are_read_whatever_the_layout(tmp_path, pattern, axes):
  write(tmp_path, pattern, "jump/v1.mp4", axes=axes)
  with flow_frames.FlowFrames(str(tmp_path / pattern), "jump/v1.mp4") as video:
    found = video.frames([0, 3, 5, 3], short_side=24)
  assert video.num_frames == 6 and found.shape == (4, 24, 32, 2) and found.dtype == np.uint8
  np.testing.assert_allclose(found[..., 0].mean((1, 2)), [100, 103, 105, 103], atol=1)
  np.testing.assert_allclose(found[..., 1].mean((1, 2)), [150, 153, 155, 153], atol=1)


def test_what_is_wrong_is_said(tmp_path):
  pattern = str(tmp_path / LAYOUTS[0])
  with pytest.raises(errors.DecodeError, match="jump/v1.mp4: no optical flow"):
    flow_frames.FlowFrames(pattern, "jump/v1.mp4")
  write(tmp_path, LAYOUTS[0], "v1.mp4")
  (tmp_path / "flow/v1/flow_y_00006.jpg").unlink()
  with pytest.raises(errors.DecodeError, match="6 images .* 5"):
    flow_frames.FlowFrames(pattern, "v1.mp4")
  for wrong in ("flow/{name}/{index}.jpg", "flow/flow_{axis}_{index}.jpg", "flow/{name}/{axis}.jpg"):
    with pytest.raises(errors.ConfigError, match="data.flow"):
      flow_frames.check(wrong)
  with pytest.raises(errors.ConfigError, match="no colours"):
    transforms.train_transform(tiny.data_config(root=str(tmp_path), flow=LAYOUTS[0], colour_jitter=0.1))


def test_a_mirror_turns_what_flows_to_the_side():
  flow = np.random.default_rng(0).integers(256, size=(2, 3, 4, 2), dtype=np.uint8)
  found = transforms.flip(flow)
  np.testing.assert_array_equal(found[..., 0], 255 - flow[:, :, ::-1, 0])
  np.testing.assert_array_equal(found[..., 1], flow[:, :, ::-1, 1])
  np.testing.assert_array_equal(transforms.flip(found), flow)


def test_batches_hold_flow_in_place_of_video(tmp_path):
  dataset = tiny.dataset(tmp_path, 3)
  for i in range(2):
    write(tmp_path, LAYOUTS[0], f"v{i}.mp4", seed=i)
  data = tiny.data_config(root=str(tmp_path), flow=LAYOUTS[0], max_failures=1.0)
  found = list(pipeline.eval_batches(dataset, data, batch_size=2))
  for made in found:
    batch.validate(made)
    assert made["flow"].shape == (2, 1, *clips.clip_shape(data)) and "video" not in made
  np.testing.assert_array_equal(np.concatenate([b["weight"] for b in found]), [1, 1, 0, 0])


@pytest.mark.parametrize("span", [(0.0, 0.25), (0.04, 0.2), (0, 1)])
def test_the_flow_of_a_span_is_looked_for_under_the_name_of_its_video(tmp_path, span):
  write(tmp_path, LAYOUTS[0], "v.mp4")
  data = tiny.data_config(root=str(tmp_path), flow=LAYOUTS[0])
  name = record_table.named("v.mp4", span)
  found = lambda fps: clips.Clips(data).cut(Record(name, Media("v.mp4", fps=fps), span=span))
  assert found(25.0).frames.shape == (1, *clips.clip_shape(data))
  with pytest.raises(errors.ConfigError, match="v.mp4 is a part of a video, and images of optical flow state no times"):
    found(0.0)


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
  """(folder, root of the data) of two runs, rgb and flow."""
  tmp_path = tmp_path_factory.mktemp("streams")
  root = tmp_path / "data"
  tiny.folder(root, train=4, val=2)
  for path in root.rglob("*.mp4"):
    write(root, LAYOUTS[0], path.name, seed=int(path.stem[-1]))
  c = config.base()
  c.system = dict(name="tesnet", trunk="resnet_18", stages=(1,), width=8, stem="small", placements=(("input", 4, 2),))
  c.data.update(root=str(root), frames=4, sampler="consecutive", short_side=20, crop=16, workers=0)
  c.train.update(batch_size=2, max_steps=1)
  c.eval.update(batch_size=2)
  loop.train(c, str(tmp_path / "rgb"))
  c.data.flow = LAYOUTS[0]
  loop.train(c, str(tmp_path / "flow"))
  return tmp_path, root


def test_two_streams_are_trained_evaluated_and_fused(streams, capsys):
  tmp_path, _ = streams
  alone = [evaluate.of_workdir(str(tmp_path / w)).result.predictions["scores"] for w in ("rgb", "flow")]
  described = fuse.evaluate_fused([str(tmp_path / "rgb"), str(tmp_path / "flow")], (1.0, 2.0))
  assert described["evaluated"] == 2
  best = ((alone[0] + 2 * alone[1]) / 3).max(1)
  np.testing.assert_allclose([v["top"][0]["score"] for v in described["samples"]], best, atol=1e-4)
  stored = json.loads((tmp_path / "rgb/eval/val-1x1-fused.json").read_text())
  assert [r["weight"] for r in stored["fused"]] == [1.0, 2.0]
  assert stored["fused"][1]["protocol"]["flow"] == LAYOUTS[0] and "written to" in capsys.readouterr().out


def test_an_evaluation_is_kept_before_savings_are_measured(streams, monkeypatch):
  folder = streams[0] / "flow"

  def failing(*_):
    raise RuntimeError
  monkeypatch.setattr(savings, "of_split", failing)
  with pytest.raises(RuntimeError):
    evaluate.evaluate_workdir(str(folder))
  assert json.loads((folder / "eval/val-1x1.json").read_text())["evaluated"] == 2


def test_what_a_stream_of_flow_sees_is_drawn_beside_that_of_frames(streams, tmp_path, capsys):
  folder, root = streams
  video = str(root / "val" / "run" / "val1.mp4")
  loaded = load.load_checkpoint(str(folder / "flow"))
  one, = explain.Explainer(loaded, ["squeezed"])(predict.predict_loaded(loaded, [video]))
  assert one.flow and one.frames.shape == (4, 16, 16, 3) and (one.frames[..., 2] == 128).all()
  np.testing.assert_allclose(one.frames[..., 0].mean((1, 2)), 109 + np.arange(4), atol=1)
  np.testing.assert_allclose(one.frames[..., 1].mean((1, 2)), 159 + np.arange(4), atol=1)
  shown, = one.maps
  assert shown.values.shape == (2, 16, 16, 3) and not shown.values[..., 2].any() and shown.values[..., :2].any()
  out = tmp_path / "pictures"
  assert cli.main(["predict", f"--workdir={folder / 'rgb'}", f"--beside={folder / 'flow'}", "--show=input,squeezed",
                   f"--out={out}", video]) == 0
  html = (out / "index.html").read_text()
  assert "From the left: input, squeezed at image, input of flow, squeezed at image of flow." in html
  assert cv2.imread(str(out / "val1.png")).shape[0] == 4 * (maps.LINE + maps.SIDE + maps.MARGIN) + maps.MARGIN
