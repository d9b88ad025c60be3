"""A workdir without a training: weights from elsewhere, in the form that every reader of a run takes."""

from collections.abc import Mapping, Sequence
import os
from typing import Any

from vidx import errors, writing
from vidx.train import checkpoint, config as config_lib


def save_model(folder: str, name: str, fields: Mapping[str, Any], variables: Mapping[str, Any],
               data: Mapping[str, Any], classes: Sequence[str] = ()) -> None:
  """Writes what `load_checkpoint`, `vidx eval`, `vidx predict` and `train.init_from` read.

  Args:
    folder: where; it exists.
    name: of the model.
    fields: of the model, `num_classes` included.
    variables: {'params': ..., 'batch_stats': ...}.
    data: keys of the config's section `data` that differ from the defaults.
    classes: names by class id; those that lack are called after their number.

  Raises:
    CheckpointError: the disk is full.
  """
  config = config_lib.base()
  config.system = {"name": name, **fields}
  config.data.update(data)
  try:
    writing.write_text(os.path.join(folder, "config.json"), config_lib.to_json(config))
    writing.write_json(os.path.join(folder, "classes.json"), list(classes))
  except OSError as e:
    raise errors.CheckpointError(f"{folder} cannot be written: {(e.strerror or str(e)).lower()}.") from e
  writer = checkpoint.Checkpointer(folder)
  try:
    writer.save_variables(variables)
    writer.wait()
  finally:
    writer.close()
