"""What frozen networks make of clips, made once before training (`data.cache`), see vidx/data/parts/encoded.py.

A system says with `encode(video)` what of a clip the trained part of it takes, a dict of
arrays that may stand in place of the video, and with `encoders` which of its parts make it.
"""

from collections.abc import Sequence
import dataclasses
import hashlib
import json
import os
from typing import Any

import einops
from flax import traverse_util
import jax
from ml_collections import ConfigDict
import numpy as np

from vidx import errors, reading, writing
from vidx.data import clips as clips_lib
from vidx.data import pipeline
from vidx.data.parts import encoded
from vidx.data.records import Dataset
from vidx.nn import augment
from vidx.terminal import counted
from vidx.train import evaluator, optim, sharding

# Of `data`, what decides which pixels are encoded.
_SEEN = ("flow", "flow_stride", "frames", "consecutive", "stride", "rate", "sampler", "short_side", "crop",
         "only_enlarge", "test_crop", "whole", "mean", "std")


def fill(run: Any, state: Any, splits: Sequence[Dataset], main: bool = True) -> None:
  """Encodes the records of splits of which `data.cache` holds nothing yet; a collective.

  Args:
    run: of `build.build`, with `config.data.cache`.
    state: with the parameters that encode.
    splits: of training and validation.
    main: whether this process speaks.

  Raises:
    ConfigError: the system has no networks that stay as they are.
    DataError: the folder was made by other weights or from other pixels.
  """
  config, folder = run.config, run.config.data.cache
  check(run)
  variables = {"params": state.params, **state.stats}
  weights = {k: _parts(v, run.model.encoders) for k, v in variables.items()}
  how = {"system": config.system.name, "weights": fingerprint(weights, run.mesh),
         "precision": np.dtype(run.dtype).name, "data": {k: repr(config.data[k]) for k in _SEEN}}
  data = config.data.copy_and_resolve_references()
  data.cache = ""
  encode = jax.jit(lambda v, x: _encoded(run, v, x), out_shardings=sharding.replicated(run.mesh))
  clip = jax.ShapeDtypeStruct((1, *clips_lib.eval_clip_shape(data)), np.uint8)
  shapes = {k: list(x.shape[1:]) for k, x in jax.eval_shape(encode, variables, clip).items()}
  _claim(folder, {**how, "shapes": shapes}, main)
  left = [dataclasses.replace(s, records=tuple(r for r in s.records if not os.path.exists(encoded.path_of(folder, r))))
          for s in splits]
  sharding.gather_json(None)  # all have looked before any writes
  if main and any(map(len, left)):
    print(f"encoding {counted(sum(map(len, left)), 'clip')} into {folder}", flush=True)
  for dataset in left:
    if len(dataset):
      _fill(run, variables, dataset, data, encode)
  sharding.gather_json(None)  # all have written before any reads


def check(run: Any) -> None:
  """Raises ConfigError for a run whose system has nothing to keep."""
  config, names = run.config, getattr(run.model, "encoders", ())
  if not names:
    raise errors.ConfigError(f"data.cache: system '{config.system.name}' has no frozen networks whose output could be"
                             " kept; leave it empty.")
  if config.train.seeds > 1:
    raise errors.ConfigError("data.cache holds the output of one run's networks; set train.seeds to 1, not"
                             f" {config.train.seeds}.")
  optim.check_frozen(run.abstract.params, config.optimizer, run.model, names, "data.cache", "clips")
  if config.train.mixup or config.train.cutmix:
    raise errors.ConfigError("train.mixup and train.cutmix mix clips; set both to 0 with data.cache.")
  if (config.eval.clips, config.eval.crops) != (1, 1):
    raise errors.ConfigError("data.cache holds one view of a video; set eval.clips and eval.crops to 1.")


def fingerprint(variables: Any, mesh: jax.sharding.Mesh | None = None) -> str:
  """Of arrays by name, the same on any mesh; without one they are whole where they are."""
  whole = np.asarray if mesh is None else jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))
  digest = hashlib.sha256()
  for path, leaf in sorted(traverse_util.flatten_dict(variables, sep="/").items()):
    digest.update(f"{path} {leaf.shape} {leaf.dtype}".encode())
    digest.update(np.ascontiguousarray(whole(leaf)).tobytes())
  return digest.hexdigest()


def _parts(tree: Any, names: Sequence[str]) -> Any:
  return {name: tree[name] for name in names if name in tree}


def _encoded(run: Any, variables: Any, video: jax.Array) -> dict[str, jax.Array]:
  data: ConfigDict = run.config.data
  key = "flow" if data.flow else "video"
  clip = augment.on_device({key: video}, data.mean, data.std, run.dtype)[key]
  return run.model.apply(variables, clip, method="encode")


def _claim(folder: str, how: dict[str, Any], main: bool) -> None:
  """Takes an empty folder, or checks that it was made alike."""
  path = os.path.join(folder, encoded.SETTINGS)
  try:
    with reading.open_text(path) as f:
      before = json.load(f)
  except FileNotFoundError:
    before = None
  except (OSError, ValueError) as e:
    raise errors.DataError(f"data.cache={folder}: {encoded.SETTINGS} is damaged ({e}); remove the folder.") from e
  if before is not None:
    if changed := [k for k in how if before.get(k) != how[k]]:
      inside = [k for k in how["data"] if before.get("data", {}).get(k) != how["data"][k]] if "data" in changed else []
      what = ", ".join([*(k for k in changed if k != "data"), *(f"data.{k}" for k in inside)])
      raise errors.DataError(f"data.cache={folder} was made with other {what}; name another folder, or remove it.")
  elif main:
    try:
      writing.write_json(path, how)
    except OSError as e:
      raise errors.DataError(f"data.cache={folder} cannot be written ({e.strerror or e}).") from e


def _fill(run: Any, variables: Any, dataset: Dataset, data: ConfigDict, encode: Any) -> None:
  size = evaluator.fitting(run.config.eval.batch_size, run.mesh)
  process = sharding.share(run.mesh)
  batches = pipeline.eval_batches(dataset, data, batch_size=size, process=process, wanted=("video", "cut/seconds"))
  clip = "flow" if data.flow else "video"
  try:
    for batch in batches:
      whole = sharding.put_batch({clip: einops.rearrange(batch[clip], "b 1 ... -> b ...")}, run.mesh)[clip]
      found = jax.device_get(encode(variables, whole))
      mine = len(batch["weight"])
      for row in np.flatnonzero(batch["weight"] > 0):
        arrays = {k: x[process[0] * mine + row] for k, x in found.items()}
        arrays = {k: x if x.dtype == np.float32 else x.astype(np.float16) for k, x in arrays.items()}
        arrays |= {k: batch[k][row] for k in ("cut/seconds", "cut/geometry")}
        record = dataset.records[batch["index"][row]]
        writing.write_arrays(encoded.path_of(run.config.data.cache, record), arrays)
  finally:
    batches.close()
