"""Files for the servers of challenges, from an evaluated split; what goes in is the task's."""

from collections.abc import Sequence
import io
import json
import zipfile

from vidx import errors, writing
from vidx.terminal import counted
from vidx.train.evaluator import EvalResult

METHOD = "submission"  # of a task that has one
INSIDE = "test.json"  # what the servers look for in an archive


def write(result: EvalResult, task, path: str, supervision: tuple[int, ...] = ()) -> str:
  """Writes the scores of a split as JSON, or as an archive of it where `path` ends in .zip.

  Args:
    result: of the split.
    task: with a method `submission(predictions, dataset, failures, supervision)`.
    path: file to write.
    supervision: levels that the challenge asks for, such as those of pretraining, labels and data.

  Returns:
    One line for people.

  Raises:
    DataError: a segment that is asked for is missing, or the file cannot be written.
  """
  content = getattr(task, METHOD)(result.predictions, result.dataset, result.failures, supervision)
  text = json.dumps(content)
  try:
    if path.endswith(".zip"):
      archive = io.BytesIO()
      with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as f:
        f.writestr(INSIDE, text)
      writing.write_bytes(path, archive.getvalue())
    else:
      writing.write_text(path, text)
  except OSError as e:
    raise errors.DataError(f"--submission={path} cannot be written ({e.strerror or e}).") from e
  return f"submission of {counted(len(result.predictions['index']), 'segment')}: {path}"


def check(task, supervision: tuple[int, ...]) -> None:
  """Raises ConfigError for a task that no challenge asks for, or levels that are none."""
  if not hasattr(task, METHOD) or getattr(task, "only", ""):
    raise errors.ConfigError("--submission: the challenges that are known ask for verbs and nouns, which the run does"
                             " not both tell.")
  check_levels(supervision)


def check_levels(supervision: Sequence[float]) -> None:
  """Raises ConfigError for levels of supervision that are none."""
  if supervision and (len(supervision) != 3 or not set(supervision) <= set(range(6))):
    raise errors.ConfigError(f"--supervision={','.join(f'{n:g}' for n in supervision)}: three levels of 0 to 5, those"
                             " of pretraining, labels and data, such as 2,3,4.")
