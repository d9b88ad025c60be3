"""Files of which nothing is known as a split of what a run has learned from, and what its evaluation makes of them."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from vidx.data import experts, media_files
from vidx.data.records import LABEL, Dataset, Record, Target
from vidx.infer import load
from vidx.train import evaluator as evaluator_lib

OF_EXPERTS = experts.ENDINGS + media_files.VIDEOS  # endings of files that `of_experts` takes


def of_records(loaded: load.Loaded, found: Sequence[Record]) -> Dataset:
  """Records as a split of what a run has learned from."""
  several = lambda name: bool(loaded.task.targets.get(name))
  named = {name: Target(classes, several(name)) for name, classes in loaded.targets.items() if name != LABEL}
  return Dataset("paths", "predict", tuple(found), loaded.classes, multilabel=several(LABEL), named=named)


def of_experts(files: Sequence[str]) -> Dataset:
  """Files of experts' features, or videos with such beside them in a folder `experts`, as a split."""
  return Dataset("paths", "predict", tuple(Record(f, experts.of_file(f)) for f in files))


def evaluated(loaded: load.Loaded, dataset: Dataset, batch_size: int, config: ConfigDict | None = None, **views: int
              ) -> evaluator_lib.EvalResult:
  """What the evaluation of a run makes of a split.

  Args:
    loaded: the run.
    dataset: the split.
    batch_size: examples at once, at most.
    config: of the run; None: its own, and this process decodes.
    **views: clips and crops of each example.
  """
  if config is None:
    config = loaded.config.copy_and_resolve_references()
    config.data.workers = 0
  evaluator = evaluator_lib.Evaluator(loaded.model, loaded.task, mesh=load.make_mesh(config), config=config,
                                      dtype=loaded.dtype)
  return evaluator(loaded.variables, dataset, batch_size=min(batch_size, len(dataset)), **views)
