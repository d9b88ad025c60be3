import base64
import io
import json
import re

import av
import numpy as np
import pytest

from vidx import errors, tasks
from vidx.data.records import Media
from vidx.show import clips, report, training
from vidx.tasks.joint import scheduled_alpha

CLASSES = ["left <to> right", "right & left", "up"]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
  """A white bar on its way to the right for 3 seconds, 90 frames of 60 x 40 pixels."""
  path = tmp_path_factory.mktemp("videos") / "v.mp4"
  frames = np.zeros((90, 40, 60, 3), np.uint8)
  for i, frame in enumerate(frames):
    frame[:, i // 2:i // 2 + 8] = 255
  path.write_bytes(clips.encode_mp4(frames, 30.0, crf=10))
  return str(path)


def sample(i, truth, guess, score, path=""):
  rest = [c for c in CLASSES if c != guess]
  return {"id": f"video {i}", "media": {"path": path, "kind": "video", "index": -1, "pattern": ""}, "span": None,
          "truth": [truth], "right": truth == guess,
          "top": [{"label": guess, "score": score}, *({"label": c, "score": (1 - score) / 2} for c in rest)]}


def evaluation(video, step=20, views=(1, 1), **extra):
  return {"protocol": {"split": "val", "views": f"{views[0]}x{views[1]}", "clips": views[0], "crops": views[1],
                       "sampler": "uniform"},
          "step": step, "videos": 6, "evaluated": 5, "failures": [{"id": "bad.mp4", "reason": "bad.mp4: truncated"}],
          "metrics": {"top-1": 80.0, "top-5": 100.0, "mean class": 75.0, "loss": 0.5},
          "per_class": [{"name": CLASSES[0], "n": 3, "accuracy": 100.0}, {"name": CLASSES[1], "n": 2, "accuracy": 50.0},
                        {"name": CLASSES[2], "n": 0, "accuracy": None}],
          "confusion": [[3, 0, 0], [1, 1, 0], [0, 0, 0]], "samples_limit": 1000,
          "samples": [sample(0, CLASSES[0], CLASSES[0], 0.9, video), sample(1, CLASSES[1], CLASSES[0], 0.8, video),
                      sample(2, CLASSES[1], CLASSES[1], 0.7, "gone.mp4")], **extra}


@pytest.fixture
def workdir(tmp_path, video):
  (tmp_path / "eval").mkdir()
  write = lambda name, value: (tmp_path / name).write_text(json.dumps(value))
  write("config.json", {"system": {"name": "tsm"}, "data": {"dataset": {"name": "folder"}}})
  write("provenance.json", {"command": "vidx train <x>", "versions": {"jax": "1.2.3"}})
  write("eval/val-1x1.json", evaluation(video))
  write("eval/val-2x3.json", evaluation(video, views=(2, 3)))
  rows = [{"step": s, "split": "train", "epoch": s / 10, "loss": 1 / s, "lr": 0.1, "clips_per_s": 50.0,
           "data_wait": 0.1} for s in range(1, 41)]
  rows.append({"step": 40, "split": "val", "epoch": 4.0, "loss": 0.5, "top-1": 80.0,
               "decode_failures": ["worse.mp4"]})
  lines = [json.dumps(r) for r in rows] + ['{"step": 41, "spl']
  (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
  return tmp_path


def test_the_report_is_one_file_that_links_to_nothing(workdir):
  path = report.write_report(str(workdir))
  assert path == str(workdir / "report.html")
  html = open(path).read()
  assert not re.search(r'(src|href)="(?!data:|#)', html) and "<script" not in html
  assert "url(" not in html.replace("url(#", "")
  assert html.count("<video") == 2 and html.count("data:video/mp4;base64,") == 2
  assert "80.0 %" in html and "bad.mp4: truncated" in html and "worse.mp4" in html and "1.2.3" in html


def test_figures_have_their_digits_and_units(workdir, video):
  (workdir / "eval" / "val-2x3.json").write_text(json.dumps(evaluation(video, views=(2, 3)) | {
      "metrics": {"psnr": 23.41, "lpips": 0.3333, "next word": 12.34, "perplexity": 345.67}}))
  html = open(report.write_report(str(workdir))).read()
  for tile in ("23.4 dB", "0.333", "12.3 %", "345.7"):
    assert re.search(rf">\s*{tile}\s*<", html)
  assert html.count("0.333") > 1  # in the table, too


def test_headlines_that_are_no_shares_have_axes_of_their_own():
  rows = [{"step": s, "split": "val", "epoch": float(s), "loss": 1.0, "next word": 9.0 + s, "perplexity": 900.0 / s}
          for s in (1, 2, 3)]
  titles = [title for title, _ in training.curves(rows, {"task": {"name": "next_word"}}, [])]
  assert "validation perplexity" in titles and "validation accuracy, %" in titles


def test_names_are_escaped(workdir):
  html = open(report.write_report(str(workdir))).read()
  assert "left <to> right" not in html and "left &lt;to&gt; right" in html and "vidx train &lt;x&gt;" in html


def test_a_sample_whose_video_is_gone_says_so(workdir):
  html = open(report.write_report(str(workdir))).read()
  assert re.search(r'class="absent">gone.mp4: [^<]+<', html)


def test_the_embedded_clips_play(workdir):
  html = open(report.write_report(str(workdir))).read()
  content = base64.b64decode(re.search(r"data:video/mp4;base64,([^\"]+)", html)[1])
  with av.open(io.BytesIO(content)) as container:
    stream = container.streams.video[0]
    frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
  assert stream.codec_context.name == "h264" and frames[0].shape == (160, 240, 3) and len(frames) == 64
  assert frames[0][80, 16].mean() > 200 > 50 > frames[-1][80, 16].mean()


def test_live_entries_behind_samplers_are_shown_as_histograms(workdir, video):
  saved = {"clips": 4, "dense_seconds": 2.0, "adaptive_seconds": 1.5, "dense_gmacs": 2.0, "gmacs": 1.0,
           "gmacs_deciles": [0.5] * 10 + [1.5], "dense_clips_per_s": 2.0, "adaptive_clips_per_s": 2.67,
           "counted_saving": 0.5, "mean_counts": {"res2": 5.5}, "counts": {"res2": [[4, 1], [6, 3]]}}
  (workdir / "eval" / "val-1x1.json").write_text(json.dumps(evaluation(video, step=40, savings=saved)))
  text = (workdir / report.write_report(str(workdir))).read_text()
  assert "25.0 % of the time" in text and "behind res2: 5.5 on average" in text


def test_a_run_that_is_not_evaluated_yet_says_how_to(workdir):
  for file in (workdir / "eval").iterdir():
    file.unlink()
  out = report.write_report(str(workdir), str(workdir / "elsewhere" / "r.html"))
  assert f"vidx eval --workdir={workdir}" in open(out).read()


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path):
  with pytest.raises(errors.CheckpointError, match=str(tmp_path)):
    report.write_report(str(tmp_path))


def test_the_choice_holds_the_most_confident_mistakes_and_right_ones_of_different_classes():
  samples = [sample(i, CLASSES[0], CLASSES[0], 0.9) for i in range(9)]
  samples += [sample(20, CLASSES[1], CLASSES[1], 0.5), sample(21, CLASSES[2], CLASSES[1], 0.6),
              sample(22, CLASSES[2], CLASSES[0], 0.95)]
  chosen = report.choose(samples, right=2, wrong=1)
  assert [s["id"] for s in chosen] == ["video 22", "video 0", "video 20"]


def test_confused_pairs_come_most_frequent_first():
  counts = np.array([[5, 2, 0], [0, 5, 7], [0, 0, 5]])
  pairs = report.confused(counts, CLASSES)
  assert [(p["true"], p["predicted"], p["count"], p["of"]) for p in pairs] == [
      (CLASSES[1], "up", 7, 12), (CLASSES[0], CLASSES[1], 2, 7)]


def test_long_videos_are_shown_faster_and_short_ones_as_they_are(video):
  content, speed = clips.sample_clip(Media(video))
  assert speed == 1 and len(content) < 60_000
  assert clips.sample_clip(Media(video), seconds=1.0)[1] == pytest.approx(3)


def test_pictures_of_what_a_system_sees_are_part_of_the_report(workdir):
  from vidx.show import maps
  picture = maps.png(np.zeros((2, 2, 3), np.uint8))
  assert "What it sees" not in open(report.write_report(str(workdir)), encoding="utf-8").read()
  (workdir / "maps").mkdir()
  (workdir / "maps" / "clip one.png").write_bytes(picture)
  html = open(report.write_report(str(workdir)), encoding="utf-8").read()
  assert "What it sees" in html and "clip one" in html and base64.b64encode(picture).decode() in html


def test_gains_by_class_over_another_run_are_sorted_and_shown(workdir, tmp_path_factory, video):
  other = tmp_path_factory.mktemp("other")
  (other / "eval").mkdir()
  rows = [{"name": CLASSES[0], "n": 3, "accuracy": 40.0}, {"name": CLASSES[1], "n": 2, "accuracy": 60.0},
          {"name": CLASSES[2], "n": 1, "accuracy": 10.0}]
  (other / "eval/val-1x1.json").write_text(json.dumps({**evaluation(video), "per_class": rows}))
  found = report.gains(evaluation(video)["per_class"], rows)
  assert [(c["name"], c["gain"]) for c in found] == [(CLASSES[0], 60.0), (CLASSES[1], -10.0)]
  page = open(report.write_report(str(workdir), against=str(other)), encoding="utf-8").read()
  assert "Gain by class" in page and "+60.0" in page and "-10.0" in page
  with pytest.raises(errors.CheckpointError, match="vidx eval --workdir"):
    report.write_report(str(workdir), against=str(tmp_path_factory.mktemp("empty")))


def test_curves_of_several_runs_are_on_the_same_plots(workdir, tmp_path_factory):
  others = [tmp_path_factory.mktemp("runs") / name for name in ("nl", "rnl")]
  for k, other in enumerate(others):
    other.mkdir()
    rows = [{"step": s, "split": split, "epoch": s / 10, "loss": k + 1 / s, "top-1": 10.0 * k}
            for s in (10, 20) for split in ("train", "val")]
    (other / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
  config = {**json.loads((workdir / "config.json").read_text()), "task": {"name": "classification"}}
  (workdir / "config.json").write_text(json.dumps(config))
  page = open(report.write_report(str(workdir), against=",".join(map(str, others))), encoding="utf-8").read()
  beside = page[page.index("Beside other runs"):]
  beside = beside[:beside.index("</section>")]
  assert beside.count("<svg") == 2 and "Gain by class" not in page
  for name in (workdir.name, "nl", "rnl"):
    assert beside.count(f">{name}, training<") == 1 and beside.count(f">{name}, validation<") == 2
  with pytest.raises(errors.CheckpointError, match="vidx eval --workdir"):
    report.write_report(str(workdir), against=f"{others[0]},{tmp_path_factory.mktemp('empty')}")


@pytest.mark.parametrize("own, others, metrics", [
    ("classification", ["joint", "tags_and_class"], ["top-1"]), ("tags_and_class", ["multilabel"], ["mAP"]),
    ("tags_and_class", ["joint", "multilabel"], ["top-1", "mAP"]), ("classification", ["none"], ["top-1"]),
    ("none", ["classification"], []), ("classification", ["joint", "multilabel"], None),
    ("segmentation", ["classification"], None)])
def test_runs_are_beside_one_another_by_what_both_measure_and_refused_where_that_is_nothing(tmp_path, own, others,
                                                                                            metrics):
  configs = {}
  for i, task in enumerate((own, *others)):
    folder = tmp_path / f"{i}"
    folder.mkdir()
    figures = {name: 10.0 + i for name in tasks.headlines(task)}
    (folder / "metrics.jsonl").write_text("\n".join(
        json.dumps({"step": s, "split": split, "loss": 1.0, **figures}) for s in (1, 2) for split in ("train", "val")))
    config = configs[str(folder)] = {"system": {"name": "some"}, "data": {"dataset": {"name": "folder"}},
                                     "task": {"name": task}}
    (folder / "config.json").write_text(json.dumps(config))
  workdir, *against = configs
  if metrics is None:
    last = f"--against={against[-1]}: a run of task '{others[-1]}' .* '{own}' "
    with pytest.raises(errors.ConfigError, match=last):
      report.write_report(workdir, against=",".join(against))
    assert not (tmp_path / "0" / "report.html").exists()
  else:
    training.check_beside(configs)
    assert [title for title, _ in training.beside(configs)] == ["loss", *(f"validation {k}, %" for k in metrics)]


def test_runs_of_the_same_name_are_called_by_more_of_their_paths(tmp_path):
  assert training._short([str(tmp_path / "a" / "run"), str(tmp_path / "b" / "run")]) == ["a/run", "b/run"]
  assert training._short([str(tmp_path / "a" / "run"), str(tmp_path / "a" / "other")]) == ["run", "other"]
  assert len(set(training._short([str(tmp_path), str(tmp_path)]))) == 1


def of_joint(rows, **task):
  config = {"task": {"name": "joint", **task}, "train": {"max_steps": 0}, "schedule": {"epochs": 10.0}}
  return dict(training.curves(rows, config, []))


def test_the_scale_schedule_of_a_run_is_drawn_with_what_was_logged():
  scale = lambda m: float(scheduled_alpha(m, 100, 0.2, 0.3))
  rows = [{"step": s, "split": "train", "epoch": s / 10, "loss": 1.0, "alpha": scale(s)} for s in range(1, 51)]
  svg = of_joint(rows, mode="scheduler", gamma=0.2, lam=0.3)["alpha"]
  assert "gamma 0.2, lambda 0.3" in svg and "as logged" in svg
  _, values = tasks.get("joint", mode="scheduler", gamma=0.2, lam=0.3).schedules["alpha"]
  np.testing.assert_allclose(values(100), [scale(m) for m in range(1, 101)], atol=1e-6)
  assert "alpha" not in of_joint(rows, mode="mgda")


def test_losses_are_scattered_with_their_correlation():
  rng = np.random.default_rng(0)
  x = rng.random(40)
  y = x + 0.1 * rng.random(40)
  rows = [{"step": s + 1, "split": "train", "epoch": (s + 1) / 10, "loss": 1.0, "enopr": a, "cross_entropy": b}
          for s, (a, b) in enumerate(zip(x, y))]
  rows.append({**rows[-1], "cross_entropy": float("nan")})
  title, = [t for t in of_joint(rows) if "correlation" in t]
  assert title.startswith("cross_entropy over enopr") and title.endswith(f"{np.corrcoef(x, y)[0, 1]:.2f}")
  assert of_joint(rows)[title].count("<use") >= 40
  assert not [t for t in of_joint([{**r, "enopr": 1.0} for r in rows]) if "correlation" in t]
