"""Videos ranked for texts: embeddings of a folder of videos, kept in an index file, and their inner products."""

from collections.abc import Sequence
import json
import os
from typing import Any

import jax
import numpy as np

from vidx import errors, reading, writing
from vidx.data import experts, media_files, tokens
from vidx.data.parts import experts as experts_part
from vidx.infer import load, unlabelled
from vidx.metrics import retrieval
from vidx.tasks.retrieval import VIDEO
from vidx.terminal import counted
from vidx.train import cache


def applies(loaded: load.Loaded) -> bool:
  """Whether a run ranks videos for texts."""
  return loaded.config.task.name == "retrieval"


def check(texts: Sequence[str]) -> None:
  """Raises DataError where one of some texts is empty."""
  if not all(text.strip() for text in texts):
    raise errors.DataError("the text is empty: write what the videos should show, as in --text='a dog runs'.")


def rank(loaded: load.Loaded, texts: Sequence[str], paths: Any, *, top: int = 5, index: str = "",
         batch_size: int = 64) -> list[dict[str, Any]]:
  """Ranks videos for texts, as the evaluation of a run does.

  Args:
    loaded: a run of the task retrieval.
    texts: sentences.
    paths: files of experts' features, videos with such beside them in a folder `experts`, folders and globs.
    top: videos per text.
    index: file in which the embeddings of the videos are kept, made anew where it is of another run or step, or files
      or features have changed.
    batch_size: videos at once.

  Returns:
    Per text {'text', 'unknown': how many of its words the vocabulary lacks, 'beyond': how many at its end are not read,
    for `data.text.length` has no room for them, 'found': [{'path', 'score'}, ...] from the highest score, 'error':
    None, 'failures': {path: reason}}.

  Raises:
    DataError: an empty text, or `paths` match nothing.
    ConfigError: another task.
  """
  if not applies(loaded):
    raise errors.ConfigError(f"task.name '{loaded.config.task.name}' does not rank videos for texts: leave --text out.")
  check(texts)
  files = media_files.find(paths, unlabelled.OF_EXPERTS)
  kept = _read_index(index, loaded, files)
  if kept is None:
    kept = _embedded(loaded, files, batch_size)
    if index:
      _write_index(index, loaded, files, kept)
  video, rows, failures = kept
  if not len(rows):
    raise errors.DataError(f"none of the {counted(len(files), 'video')} can be read: {next(iter(failures.values()))}")
  text, unknown, beyond = _said(loaded, texts)
  parts = (loaded.task.parts,) if loaded.task.parts else ()
  similarity = retrieval.similarity(text, video, parts)
  found = []
  for i, said in enumerate(texts):
    best = np.argsort(-similarity[i], kind="stable")[:top]
    found.append({"text": said, "unknown": unknown[i], "beyond": beyond[i], "error": None, "failures": failures,
                  "found": [{"path": files[rows[j]], "score": float(similarity[i, j])} for j in best]})
  return found


def _embedded(loaded, files, batch_size):
  """Embeddings by name, which files they are of, and why others have none."""
  result = unlabelled.evaluated(loaded, unlabelled.of_experts(files), batch_size)
  video = {k.removeprefix(VIDEO): v for k, v in result.predictions.items() if k.startswith(VIDEO)}
  rows, failures = np.asarray(result.predictions["index"]), dict(result.failures)
  if "available" in video:  # a system of local parts alone does not tell
    seen = np.asarray(video["available"]).any(1)
    names = ", ".join(_names(loaded))
    failures |= {files[i]: f"{experts.of_file(files[i]).path}: it has no features of the experts {names}."
                 for i in rows[~seen]}
    rows, video = rows[seen], {k: v[seen] for k, v in video.items()}
  return video, rows, failures


def _names(loaded):
  """The experts of a run."""
  return [name for name, _, _ in experts_part.wanted(loaded.config.data)]


def _said(loaded, texts):
  """Embeddings of texts, and how many words of each the vocabulary does not have, and there is no room for."""
  tokenizer = tokens.open_tokenizer(loaded.config.data)
  ids, mask = (np.stack(x) for x in zip(*map(tokenizer, texts)))
  encode = jax.jit(lambda v, *x: loaded.model.apply(v, *x, method="encode_text"))
  found = {k: np.asarray(v) for k, v in encode(loaded.variables, ids, mask).items()}
  number = tokenizer.vocabulary["[UNK]"]
  return found, [int((row == number).sum()) for row in ids], [tokenizer.beyond(text) for text in texts]


def _facts(loaded, files) -> dict[str, Any]:
  """What an index has to agree in: the run, and the features of each video with when they were last changed."""
  names = _names(loaded)
  of = lambda file: sorted(set(experts.files(experts.of_file(file), names).values()))
  return {"step": loaded.step, "system": loaded.config.system.to_dict(), "weights": cache.fingerprint(loaded.variables),
          "files": [[os.path.abspath(f), *map(_changed, of(f))] for f in files]}


def _changed(path) -> tuple[str, int, int]:
  """What tells the contents of a file from those before without reading them; -1 of one that is not there."""
  found = media_files.status(path)
  return os.path.abspath(path), *((found.st_size, found.st_mtime_ns) if found else (-1, -1))


def _write_index(path, loaded, files, kept) -> None:
  video, rows, failures = kept
  facts = json.dumps({**_facts(loaded, files), "failures": failures})
  writing.write_arrays(path, {"rows": rows, "facts": np.array(facts), **{VIDEO + k: v for k, v in video.items()}})


def _read_index(path, loaded, files):
  """As `_embedded`, None where the file is absent or of something else."""
  if not path or not os.path.exists(path):
    return None
  with reading.boundary(f"{path} is no index of videos"):
    with reading.arrays(path) as f:
      facts = json.loads(str(f["facts"]))
      failures = facts.pop("failures")
      same = facts == json.loads(json.dumps(_facts(loaded, files)))
      return ({k.removeprefix(VIDEO): f[k] for k in f if k.startswith(VIDEO)}, f["rows"], failures) if same else None


def to_table(found: Sequence[dict[str, Any]]) -> str:
  """What was found, for a terminal: each text, and below it a video and its score a line."""
  lines = []
  for entry in found:
    notes = [f"{entry['unknown']} of its words are unknown"] if entry["unknown"] else []
    if entry["beyond"]:
      notes.append(f"not read, as data.text.length says: the last {counted(entry['beyond'], 'word')}")
    lines.append(entry["text"] + (f"   ({', '.join(notes)})" if notes else ""))
    lines += [f"  {f['score']:7.4f}  {f['path']}" for f in entry["found"]]
  return "\n".join(lines)
