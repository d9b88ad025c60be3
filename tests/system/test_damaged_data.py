"""A data set with broken files trains through, and each bad file is named once, by however many processes."""

import json
import shutil

import av
import numpy as np

from tests.system import ends
from tests.system.conftest import losses
from tests.system.test_stop import start
from vidx.data import datasets, pipeline
from vidx.train import config as config_lib

BAD = {"truncated.mp4", "empty.mp4", "text.mp4"}


def write(path, frames, size):
  """A small h264 file of noise."""
  width, height = size
  rng = np.random.default_rng(0)
  with av.open(str(path), "w") as out:
    stream = out.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {"preset": "ultrafast"}
    image = rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    for _ in range(frames):
      for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
        out.mux(packet)
    for packet in stream.encode():
      out.mux(packet)


def damaged(toy, root):
  """A copy of `toy` with three broken files, a 4K clip and a clip of a single frame."""
  shutil.copytree(toy, root)
  good = next(root.rglob("*.mp4"))
  whole = good.read_bytes()
  (root / "truncated.mp4").write_bytes(whole[: len(whole) // 3])
  (root / "empty.mp4").write_bytes(b"")
  (root / "text.mp4").write_text("this is no video\n" * 100)
  write(root / "large.mp4", 4, (3840, 2160))
  write(root / "single.mp4", 1, (64, 48))
  table = root / "clips.csv"
  header, *rows = table.read_text().splitlines()
  columns = header.split(",")
  label = rows[0].split(",")[columns.index("label")]
  for name in ("truncated.mp4", "empty.mp4", "text.mp4", "large.mp4", "single.mp4"):
    values = {"path": name, "label": label, "split": "train"}
    rows.append(",".join(values.get(c, "") for c in columns))
  table.write_text("\n".join([header, *rows]) + "\n")


def test_a_damaged_set_trains_through_and_names_each_bad_file_once(toy, tiny, vidx, tmp_path):
  root = tmp_path / "data"
  damaged(toy, root)
  done = vidx("train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}", f"--config.data.root={root}",
              "--config.data.max_failures=0.2", "--config.schedule.epochs=3.0")
  assert len(losses(tmp_path / "run")) > 10
  named = [line for line in done.stdout.splitlines() if line.startswith("  ") and ".mp4: " in line]
  assert {line.split(":")[0].strip() for line in named} == BAD and len(named) == len(BAD)
  finished = json.loads((tmp_path / "run" / "DONE.json").read_text())
  assert set(finished["failures"]) == BAD


def test_above_the_stated_limit_the_run_stops_with_the_list(toy, tiny, vidx, tmp_path):
  root = tmp_path / "data"
  damaged(toy, root)
  done = vidx("train", f"--config={tiny}", f"--workdir={tmp_path / 'run'}", f"--config.data.root={root}",
              "--config.data.max_failures=0.01", "--config.schedule.epochs=3.0", check=False)
  assert done.returncode == 2
  message, = [line for line in done.stderr.splitlines() if line.startswith("vidx: ")]
  assert "max_failures" in message and any(name in message for name in BAD)


def read_by(process, config, root):
  """Names of the videos that one of two processes reads in each of the four batches of the first epoch."""
  train_set = datasets.load("folder", str(root), "train")
  with pipeline.train_batches(train_set, config.data, batch_size=8, seed=config.seed, process=(process, 2)) as batches:
    return [list(next(batches)["id"]) for _ in range(4)]


def test_files_that_fail_are_counted_over_all_processes(toy, tiny, tmp_path):
  root, workdir = tmp_path / "data", tmp_path / "run"
  shutil.copytree(toy, root)
  bad = {read_by(process, config_lib.load_file(tiny), root)[batch][0] for process in range(2) for batch in (0, 2)}
  for name in bad:
    (root / name).write_bytes(b"no video")
  options = [*ends.flags(tiny, workdir, epochs=2), f"--config.data.root={root}"]
  process = start(ends.command([*options, "--config.data.max_failures=0.1"], processes=2))  # 3 of 32: each has but two
  out, err = process.communicate(timeout=120)
  assert process.returncode == 2 and "Traceback" not in out + err, out + err
  said = [line for line in out.splitlines() if "] vidx: " in line]
  assert sorted(line[:3] for line in said) == ["[0]", "[1]"]
  assert all("4 of 32 videos cannot be decoded" in line and all(name in line for name in bad) for line in said)
  assert sorted(losses(workdir)) == [1, 2, 3, 4]  # to the first save, where they ask one another
