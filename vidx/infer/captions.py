"""What new videos show, in sentences."""

from collections.abc import Mapping, Sequence
import csv
import io
from typing import Any

import numpy as np

from vidx.data import media_files
from vidx.infer import load, unlabelled


def applies(loaded: load.Loaded) -> bool:
  """Whether a run says sentences."""
  return loaded.config.task.name == "captioning"


def predict(loaded: load.Loaded, paths: Any, *, batch_size: int = 64) -> list[dict[str, Any]]:
  """Says what videos show, as the evaluation of a run does.

  Args:
    loaded: a run of the task captioning.
    paths: files of experts' features, videos with such beside them in a folder `experts`, folders and globs.
    batch_size: videos at once.

  Returns:
    Per file {'path', 'error': None or why it cannot be read, 'caption', 'log_prob', 'gates': how far each of its words
    opens the gate of the parts of speech}.

  Raises:
    DataError: `paths` match nothing.
  """
  files = media_files.find(paths, unlabelled.OF_EXPERTS)
  dataset = unlabelled.of_experts(files)
  result = unlabelled.evaluated(loaded, dataset, batch_size)
  row = {int(index): i for i, index in enumerate(np.asarray(result.predictions["index"]))}
  said = lambda i: {"error": None, **loaded.task.describe(result.predictions, row[i], dataset)}
  return [{"path": file, **(said(i) if i in row else {"error": result.failures[file]})} for i, file in enumerate(files)]


def to_csv(entries: Sequence[Mapping[str, Any]]) -> str:
  """`path,caption`, a line per video that can be read."""
  out = io.StringIO()
  rows = csv.writer(out)
  rows.writerow(("path", "caption"))
  rows.writerows((e["path"], e["caption"]) for e in entries if not e["error"])
  return out.getvalue()
