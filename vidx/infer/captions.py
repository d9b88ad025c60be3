"""What new videos show, in sentences."""

from typing import Any

import numpy as np

from vidx.data import experts, media_files
from vidx.data.records import Dataset, Record
from vidx.infer import load
from vidx.train import evaluator as evaluator_lib

ENDINGS = experts.ENDINGS + media_files.VIDEOS


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
  files = media_files.find(paths, ENDINGS)
  config = loaded.config.copy_and_resolve_references()
  config.data.workers = 0
  dataset = Dataset("paths", "predict", tuple(Record(f, experts.of_file(f)) for f in files))
  evaluator = evaluator_lib.Evaluator(loaded.model, loaded.task, mesh=load.make_mesh(config), config=config,
                                      dtype=loaded.dtype)
  result = evaluator(loaded.variables, dataset, batch_size=min(batch_size, len(files)))
  row = {int(index): i for i, index in enumerate(np.asarray(result.predictions["index"]))}
  said = lambda i: {"error": None, **loaded.task.describe(result.predictions, row[i], dataset)}
  return [{"path": file, **(said(i) if i in row else {"error": result.failures[file]})} for i, file in enumerate(files)]
