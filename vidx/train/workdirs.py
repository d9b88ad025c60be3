"""Workdirs: a run's folder belongs to one config and one data set."""

import json
import os
from typing import Any

import jax
from ml_collections import ConfigDict

from vidx import errors, reading, writing
from vidx.data import records, tokens, vocabulary
from vidx.data.records import Dataset
from vidx.train import checkpoint, config as config_lib, integrity, optim, provenance, sharding

VOCABULARY = "vocab.txt"
# Keys that may change between the stops of one run: they change no figure.
FREE_KEYS = ("data.root", "data.text.vocab", "data.workers", "data.prefetch", "data.threads", "data.timeout_s",
             "data.max_missing", "data.max_failures", "train.log_every", "train.max_steps", "eval.", "mesh.",
             "checkpoint.")
PLATEAU_KEYS = ("eval.every_epochs", "eval.clips", "eval.crops")  # these do where evaluations say when the rate falls


def trained(workdir: str) -> bool:
  """Whether a checkpoint was finished there: until then any config may take the folder."""
  return bool(integrity.steps(os.path.join(workdir, checkpoint.FOLDER)))


def claim(config: ConfigDict, workdir: str, train_set: Dataset, val_set: Dataset, main: bool, run: Any = None) -> None:
  """Takes a workdir where nothing has trained yet, or checks that one is of this config and data.

  Args:
    config: whole config.
    workdir: folder of the run.
    train_set: the split that is learned.
    val_set: the split that is evaluated.
    main: whether this process writes.
    run: what `build.build` made of the config. With it `optimizer.frozen` may name the same parameters otherwise, or
      leave out those that the model holds itself.

  Raises:
    CheckpointError: it is of another config or other data, or damaged.
    UserError: it cannot be written.
  """
  path = os.path.join(workdir, "config.json")
  kept = os.path.exists(path) and trained(workdir)
  if kept:
    with reading.boundary(f"{path} is damaged", errors.CheckpointError):
      old = config_lib.from_json(json.dumps(_kept(workdir, "config.json")))
    told = PLATEAU_KEYS if config.schedule.name == "plateau" else ()
    changed = [d for d in config_lib.differences(old, config_lib.from_json(config_lib.to_json(config)))
               if not d.startswith(FREE_KEYS) or d.startswith(told)]
    if run is not None and [d.partition(":")[0] for d in changed] == ["optimizer.frozen"]:
      still = lambda c: jax.tree.leaves(optim.frozen(run.abstract.params, c.optimizer, run.model))
      changed = [] if still(old) == still(config) else changed
    if changed:
      raise errors.CheckpointError(
          f"{workdir} belongs to another config ({'; '.join(changed[:3])}{'; ...' if len(changed) > 3 else ''});"
          " choose another --workdir, or the config that it was started with.")
    _same_data(workdir, train_set, val_set)
  if not main:
    return
  try:
    os.makedirs(workdir, exist_ok=True)
    if not kept:
      writing.write_text(path, config_lib.to_json(config))
      writing.write_json(os.path.join(workdir, "classes.json"), records.class_names(train_set))
      writing.write_json(os.path.join(workdir, "provenance.json"), provenance.describe(
          data={s.split: _described(s) for s in (train_set, val_set)}))
  except OSError as e:
    raise errors.UserError(f"cannot write to workdir {workdir}: {e.strerror}.") from e


def make_vocabulary(config: ConfigDict, workdir: str, train_set: Dataset, main: bool = True) -> None:
  """Where `data.text.vocab` is empty, names a file in the folder, of the words of the training captions; a collective.

  Once something has trained there, the file stays as it is.
  """
  if config.data.text.vocab:
    return
  text, path = config.data.text, os.path.abspath(os.path.join(workdir, VOCABULARY))
  if not (os.path.exists(path) and trained(workdir)):
    words = vocabulary.from_captions(train_set, int(text.least), int(text.most), bool(text.lower))
    if main:
      writing.write_lines(path, words)
  sharding.gather_json(None)  # it is there before any reads it
  text.vocab = path


def keep_vocabulary(config: ConfigDict, workdir: str, main: bool) -> None:
  """Copies the vocabulary of a run that reads texts into its folder, where predictions find it.

  Raises:
    ConfigError: a tokenizer that is not there.
    DataError: no vocabulary.
    CheckpointError: the folder has another one.
  """
  words = list(tokens.open_tokenizer(config.data).vocabulary)
  path = os.path.join(workdir, VOCABULARY)
  if os.path.exists(path) and trained(workdir):
    if list(tokens.read_vocabulary(path)) != words:
      raise errors.CheckpointError(f"{workdir} was trained on another vocabulary than {tokens.path_of(config.data)}:"
                                   " bring that back, or begin another --workdir.")
  elif main:
    writing.write_lines(path, words)


def _described(split: Dataset) -> dict[str, Any]:
  """What provenance.json says of a split."""
  return {"fingerprint": split.fingerprint(), "videos": len(split), "missing": len(split.missing)}


def _same_data(workdir: str, train_set: Dataset, val_set: Dataset) -> None:
  """Checks that the data is what a run began with, as its classes.json and provenance.json say.

  Raises:
    CheckpointError: classes or videos are others.
  """
  remedy = ("; bring the data back as it was, or begin another --workdir (with --config.train.init_from="
            f"{workdir} from where this one is).")
  before, now = _kept(workdir, "classes.json"), records.class_names(train_set)
  if before is not None and before != now:
    each = [(before.get(name), now.get(name), f" of target '{name}'") for name in {**before, **now}] if (
        isinstance(before, dict) and isinstance(now, dict)) else [(before, now, "")]
    old, new, of = next((pair for pair in each if pair[0] != pair[1]))
    first = next((f"class {i} was '{a}' and is '{b}'" for i, (a, b) in enumerate(zip(old or (), new or ())) if a != b),
                 f"there were {len(old or ())} and are {len(new or ())}")
    raise errors.CheckpointError(f"{workdir} was trained on other classes{of}: {first}{remedy}")
  for split in (train_set, val_set):
    kept = ((_kept(workdir, "provenance.json") or {}).get("data") or {}).get(split.split)
    found = _described(split)
    if kept is not None and kept.get("fingerprint") != found["fingerprint"]:
      counts = (f"{kept.get('videos')} and are {found['videos']}" if kept.get("videos") != found["videos"] else
                f"as many, {found['videos']}, but other names, labels, spans or sizes of files")
      raise errors.CheckpointError(f"{workdir} was trained on other data: the videos of split '{split.split}' were"
                                   f" {counts}"
                                   f"{remedy}")


def _kept(workdir: str, name: str) -> Any:
  """A JSON file of a workdir, None where it is absent.

  Raises:
    CheckpointError: it cannot be read.
  """
  path = os.path.join(workdir, name)
  try:
    with reading.open_text(path) as f:
      return json.load(f)
  except FileNotFoundError:
    return None
  except Exception as e:  # of JSON of any content
    raise errors.CheckpointError(f"{path} is damaged ({' '.join(str(e).split())[:100]}): bring it back, or begin"
                                 " another --workdir.") from e
