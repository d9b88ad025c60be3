"""Clusters of clip features of a trained run, compared with the classes of any labelled data set.

Fayyaz: "Holistic Video Understanding: Spatio-Temporal Modeling and Efficiency",
2024, section 5.4.8.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import jax

from vidx import errors, tasks
from vidx.data import examples
from vidx.data.datasets import common
from vidx.data.records import Dataset
from vidx.infer import load, results
from vidx.terminal import counted
from vidx.train import build, evaluator as evaluator_lib

ALL = "all"


def of_classes(dataset: Dataset, chosen: str) -> Dataset:
  """The videos of the classes that a file names, one a line; `chosen` 'all' means those of all.

  Raises:
    ConfigError: videos with several labels, or a class that the data set has not.
  """
  if dataset.multilabel or not dataset.classes:
    raise errors.ConfigError(f"--cluster needs a data set with one class per video; '{dataset.name}' has"
                             f" {'several' if dataset.multilabel else 'none'}.")
  if chosen == ALL:
    return dataset
  names = common.read_classes(chosen)
  for name in names:
    if name not in dataset.classes:
      raise errors.ConfigError(f"{chosen}: '{name}' is not one of the {counted(len(dataset.classes), 'class')} of data"
                               f" set '{dataset.name}'{errors.hint(name, dataset.classes)}.")
  wanted = {dataset.classes.index(name) for name in names}
  return dataclasses.replace(dataset, records=tuple(r for r in dataset.records if r.label in wanted))


def cluster_workdir(workdir: str, split: str = "", chosen: str = ALL, *, clips: int = 1, crops: int = 1,
                    step: int | str | None = None, batch_size: int | None = None, overrides: Sequence[str] = ()
                    ) -> dict[str, Any]:
  """Clusters the features of a run and writes WORKDIR/eval/<split>-<clips>x<crops>-clusters.json.

  Args:
    workdir: of a run; what it was trained on does not matter.
    split: of the data set; empty for the run's `data.val_split`.
    chosen: file of class names, or 'all'.
    clips: temporal clips per video.
    crops: spatial crops per clip: 1, 3 or 5.
    step: which checkpoint, as in `load_checkpoint`.
    batch_size: videos per batch; None for that of the config.
    overrides: `section.key=value` texts over the run's config, such as another data set.

  Returns:
    What the file holds (see vidx/infer/results.py).
  """
  loaded = load.load_checkpoint(workdir, step, overrides)
  config = loaded.config
  dataset = of_classes(build.load_split(config, split or config.data.val_split), chosen)
  config.task = dict(name="clustering")
  task = tasks.from_config(config.task.to_dict(), dataset)
  examples.with_feature_size(config.data, dataset)
  evaluator = evaluator_lib.Evaluator(loaded.model, task, mesh=load.make_mesh(config), config=config,
                                      dtype=loaded.dtype)
  result = evaluator(loaded.variables, dataset, clips=clips, crops=crops,
                     batch_size=batch_size or config.eval.batch_size)
  how = results.protocol(config, dataset, clips=clips, crops=crops, dtype=loaded.dtype)
  described = results.describe(result, task, how, loaded.step)
  if jax.process_index() == 0:
    path = results.write(described, workdir, "-clusters")
    print("\n".join([*results.lines(described), f"written to {path}"]), flush=True)
  return described
