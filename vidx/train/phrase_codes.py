"""Codes of all phrases of a run, made once before training (`data.phrases.codes`), see vidx/data/phrase_codes.py.

They are made by the part of the system that `encoders` names, which is not trained, so all
runs that start from one language model share a folder beside it: only the first makes them.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vidx import errors
from vidx.data import phrase_codes, tokens
from vidx.data.parts import phrases as phrases_part
from vidx.data.records import Dataset
from vidx.terminal import counted
from vidx.train import cache, optim, sharding

BATCH = 512


def fill(run: Any, state: Any, splits: Sequence[Dataset], main: bool = True) -> None:
  """Makes the codes of all phrases of training and validation, unless the folder has them; a collective.

  Args:
    run: of `build.build`, with `config.data.phrases.codes`.
    state: with the parameters of the language encoder.
    splits: of training and validation.
    main: whether this process writes and speaks.

  Raises:
    ConfigError: the language encoder is trained, or the system has none.
    DataError: the folder was made by other weights or another vocabulary.
  """
  config, folder = run.config, run.config.data.phrases.codes
  names = getattr(run.model, "encoders", ())
  if "phrases" not in getattr(run.model, "inputs", ()) or not names or config.train.seeds > 1:
    raise errors.ConfigError(f"data.phrases.codes: {counted(config.train.seeds, 'seed')} of system"
                             f" '{config.system.name}' without one language encoder whose codes could be"
                             " kept; leave it empty.")
  optim.check_frozen(run.abstract.params, config.optimizer, run.model, names, "data.phrases.codes", "phrases")
  weights = {name: state.params[name] for name in names}
  how = {"weights": cache.fingerprint(weights, run.mesh), "length": int(config.data.text.length),
         "vocabulary": list(tokens.open_tokenizer(config.data).vocabulary)}
  texts = phrases_part.all_of(splits, config.data.phrases)
  before = phrase_codes.settings(folder)
  if before is not None and (changed := [k for k in how if before.get(k) != how[k]]):
    raise errors.DataError(f"data.phrases.codes={folder} was made with other {', '.join(changed)}; name another folder,"
                           " or remove it.")
  kept = phrase_codes.Codes(folder) if before is not None else None
  texts = texts if kept is None else kept.lacking(texts)
  sharding.gather_json(None)  # all have looked before any writes
  if texts:
    if main:
      print(f"codes of {counted(len(texts), 'phrase')} into {folder}", flush=True)
    codes = _codes(run, weights, texts)
    if main:
      try:
        phrase_codes.write(folder, texts, codes, how, kept)
      except OSError as e:
        raise errors.DataError(f"data.phrases.codes={folder} cannot be written ({e.strerror or e}).") from e
  sharding.gather_json(None)  # all have waited before any reads


def _codes(run: Any, weights: Any, texts: Sequence[str]) -> np.ndarray:
  """float32 (N, d)."""
  encode = jax.jit(lambda w, *x: run.model.apply({"params": w}, *x, method="encode_phrases"),
                   out_shardings=sharding.replicated(run.mesh))
  found = []
  for start in range(0, len(texts), BATCH):
    some = [phrases_part.numbered(t, run.config.data) for t in texts[start:start + BATCH]]
    ids, mask = (np.stack(x) for x in zip(*some))
    pad = lambda x: np.pad(x, [(0, BATCH - len(x)), (0, 0)])
    found.append(np.asarray(encode(weights, pad(ids), pad(mask)))[:len(some)])
  return np.concatenate(found)
