"""Results of runs for `vidx data fuzz`; see vidx/data/fuzz_files.py."""

import json

from vidx.data.fuzz_files import Case
from vidx.show import report


def results() -> dict[str, Case]:
  """What a report is made of: an evaluation, the log of steps, the config."""
  protocol = {"system": "tsm", "task": "classification", "data": "folder", "split": "val", "views": "1x1", "clips": 1,
              "crops": 1, "precision": "float32"}
  labels = ["run", "jump"]
  sample = lambda i: {"id": f"v{i}", "media": {"path": f"/none/v{i}.mp4", "kind": "video"}, "span": None,
                      "truth": "run",
                      "top": [{"label": labels[i % 2], "score": 0.7}, {"label": labels[1 - i % 2], "score": 0.3}],
                      "right": i % 2 == 0}
  evaluation = {"protocol": protocol, "step": 20, "videos": 4, "evaluated": 4, "labelled": 4,
                "failures": [{"id": "v9", "reason": "damaged"}],
                "metrics": {"top-1": 50.0, "loss": 0.69, "top-5": None}, "headline": "top-1",
                "per_class": [{"name": n, "n": 2, "accuracy": 50.0} for n in labels],
                "confusion": [[1, 1], [1, 1]], "samples_limit": 1000, "samples": [sample(i) for i in range(4)]}
  row = lambda s: {"split": "train", "step": s, "epoch": s / 10, "loss": 1 / s}
  rows = [*map(row, range(1, 5)), {"split": "val", "step": 4, "epoch": 0.4, "loss": 0.69, "decode_failures": ["v9"]}]
  config = {"system": {"name": "tsm"}, "data": {"dataset": {"name": "folder"}}, "task": {"name": "classification"}}
  content = {"eval/val-1x1.json": json.dumps(evaluation).encode(), "config.json": json.dumps(config).encode(),
             "metrics.jsonl": "".join(json.dumps(r) + "\n" for r in rows).encode()}
  # Nearly all the time goes into drawing curves, which the other two do not change.
  without = lambda *names: {k: v for k, v in content.items() if k not in names}
  beside = {"metrics.jsonl": without("eval/val-1x1.json")}
  return {name: Case(beside.get(name, without("metrics.jsonl")), name, report.write_report) for name in content}
