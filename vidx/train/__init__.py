"""Training. The package can be called as a function, `vidx.train(config, workdir)`, which is its `train`."""

from collections.abc import Sequence
import sys
import types
from typing import Any


def train(config: Any, workdir: str, overrides: Sequence[str] = (), runs: str = "", profile: bool = False
          ) -> dict[str, Any]:
  """Trains to the end of the schedule, or goes on where an earlier call stopped.

  Args:
    config: a config, a file, or the name of one that comes along, such as 'folder/tsm'.
    workdir: folder of the run.
    overrides: `section.key=value` texts over the config.
    runs: folder of the earlier stages of a recipe.
    profile: traces a few steps.

  Returns:
    {'step', 'metrics', 'best_step', 'failures'} of the finished run.

  Raises:
    UserError: config, data or workdir that cannot be used; NaN loss.
    Unfinished: SIGTERM or Ctrl-C ended the run after a step, which is saved.
  """
  from vidx.train import config as config_lib, loop
  config = config_lib.load_file(config) if isinstance(config, str) else config.copy_and_resolve_references()
  return loop.train(config_lib.override(config, overrides), workdir, profile=profile, runs=runs)


class _Package(types.ModuleType):

  def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return train(*args, **kwargs)


sys.modules[__name__].__class__ = _Package
