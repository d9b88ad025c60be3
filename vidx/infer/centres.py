"""Which words of a text and which tokens of videos the centres of a retrieval run take (Wang 2021, Figure 6.3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from vidx import errors
from vidx.data import batch as batch_lib
from vidx.data import pipeline, tokens
from vidx.infer import load, unlabelled

BATCH = 16  # videos at once, at most


def taken(loaded: load.Loaded, text: str, paths: Sequence[str]) -> dict[str, Any]:
  """Shares of words and of experts that go to each centre; those of a word or an expert sum to 1.

  Args:
    loaded: a run of retrieval with a local part.
    text: a sentence.
    paths: files, as `vidx.infer.retrieve.rank` takes them.

  Returns:
    {'centres': K, 'background': whether one more share is that of none of them, 'words': [(word, shares), ...],
    'videos': [{expert: shares}, ...], the mean over its tokens, without experts that saw nothing; {} where videos have
    no centres}.

  Raises:
    ConfigError: the run has no centres.
  """
  model = loaded.model
  if not getattr(model, "use_local", False):
    raise errors.ConfigError(f"--show=centres: {loaded.config.system.name} compares wholes and has no centres.")
  tokenizer = tokens.open_tokenizer(loaded.config.data)
  ids, mask = tokenizer(text)
  names = {number: word for word, number in tokenizer.vocabulary.items()}
  shares = _assigned(model, loaded.variables, "encode_text", ids[None], mask[None])[0]
  words = [(names[int(i)], row.tolist()) for i, row, live in zip(ids, shares, mask) if live]
  return {"centres": model.centres, "background": model.ghost, "words": words,
          "videos": _of_videos(loaded, paths) if model.vlad != "text_only" else [{} for _ in paths]}


def _assigned(model, variables, method: str, *arrays: Any) -> np.ndarray:
  """fp32 (B, N, K + 1) or (B, N, K), what the centres leave in the collection `maps`."""
  run = jax.jit(lambda v, *x: model.apply(v, *x, method=method, mutable=["maps"])[1]["maps"])
  sown = traverse_util.flatten_dict(jax.device_get(run(variables, *arrays)))
  return next(v[-1] for k, v in sown.items() if k[0].endswith("_centres") and k[-1] == "assignment")


def _of_videos(loaded: load.Loaded, paths: Sequence[str]) -> list[Mapping[str, list[float]]]:
  """Shares by expert of each video; {} of one that cannot be read."""
  model, dataset = loaded.model, unlabelled.of_experts(paths)
  config = loaded.config.copy_and_resolve_references()
  config.data.workers = 0
  found: list[Mapping[str, list[float]]] = [{} for _ in paths]
  with pipeline.eval_batches(dataset, config.data, batch_size=min(BATCH, len(paths)),
                             wanted=batch_lib.wanted(model, loaded.task)) as batches:
    for batch in batches:
      seen, live = ({e: batch[f"{kind}/{e}"] for e in model.experts} for kind in ("expert", "expert_mask"))
      shares = _assigned(model, loaded.variables, "encode_video", seen, live)
      ends = np.cumsum([live[e].shape[1] for e in model.experts])[:-1]
      for expert, part in zip(model.experts, np.split(shares, ends, axis=1)):
        on = live[expert] > 0
        for row in np.flatnonzero((batch["weight"] > 0) & on.any(1)):
          found[batch["index"][row]] = {**found[batch["index"][row]], expert: part[row][on[row]].mean(0).tolist()}
  return found
