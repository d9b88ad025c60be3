"""Verbs, nouns and the actions that they make up: NumPy in, percent out.

An action is a pair of a verb and a noun; its score is log P(v) + log P(n) + log mu(v, n),
where a prior mu may say how often the pair occurs (Wang: "Collaborative Dual-Stream
Modeling for Video Understanding", 2021, eq. 3.14). An action is right where both are
those of the best pair. Damen et al.: "Rescaling Egocentric Vision", 2022, defines the
measures of unseen participants and tail classes, and the challenge's format.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vidx import errors
from vidx.metrics import accuracy
from vidx.metrics.ranking import mean_known
from vidx.terminal import counted

PRIORS = ("none", "joint", "conditional", "known")
ACTION_ID = 1000  # an action's number is verb * 1000 + noun
_BLOCK = 4_000_000  # scores of pairs held at once
_ROOM = 1e-5  # added to the verb's frequency, as the public code of Wu et al. 2019 does


def log_probabilities(scores: np.ndarray, probabilities: bool = False) -> np.ndarray:
  """Logarithms of class probabilities, float64 (N, C), by row: of logits, or of `probabilities` as they are.

  A score that is not a number counts as the lowest.
  """
  scores = np.asarray(scores, np.float64)
  if probabilities:
    with np.errstate(divide="ignore", invalid="ignore"):
      return np.where(scores > 0, np.log(scores), -np.inf)
  scores = np.where(np.isnan(scores), -np.inf, scores)
  top = scores.max(-1, keepdims=True)
  shifted = scores - np.where(np.isfinite(top), top, 0)
  with np.errstate(divide="ignore"):
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def prior(kind: str, verb: np.ndarray, noun: np.ndarray, verbs: int, nouns: int) -> np.ndarray | None:
  """mu(v, n) of training labels, float64 (verbs, nouns); None for 'none'.

  Args:
    kind: 'joint', the frequency of the pair; 'conditional', P(n | v); 'known', 1 for every pair that occurs;
      or 'none'.
    verb: (N,) class ids, -1 where unknown.
    noun: (N,) as `verb`.
    verbs: classes.
    nouns: classes.

  Raises:
    ValueError: another kind.
  """
  return prior_of(kind, pair_counts(verb, noun, verbs, nouns))


def pair_counts(verb: np.ndarray, noun: np.ndarray, verbs: int, nouns: int) -> np.ndarray:
  """int64 (verbs, nouns): how often each pair occurs in labels (N,), -1 where unknown."""
  verb, noun = np.asarray(verb, np.int64), np.asarray(noun, np.int64)
  known = (verb >= 0) & (noun >= 0)
  return np.bincount(verb[known] * nouns + noun[known], minlength=verbs * nouns).reshape(verbs, nouns)


def prior_of(kind: str, count: np.ndarray) -> np.ndarray | None:
  """`prior` from counts of pairs (verbs, nouns)."""
  if kind not in PRIORS:
    raise ValueError(f"prior '{kind}' is not one of {', '.join(PRIORS)}.")
  if kind == "none":
    return None
  if kind == "known":
    return (count > 0).astype(np.float64)
  mu = count / max(count.sum(), 1)
  return mu / (mu.sum(1, keepdims=True) + _ROOM) if kind == "conditional" else mu


def _log(mu: np.ndarray) -> np.ndarray:
  with np.errstate(divide="ignore"):
    return np.log(np.asarray(mu, np.float64))


def action_ranks(log_verb: np.ndarray, log_noun: np.ndarray, verb: np.ndarray, noun: np.ndarray,
                 mu: np.ndarray | None = None, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
  """How many pairs are ahead of the true one, and the best pair.

  Args:
    log_verb: (N, V).
    log_noun: (N, M).
    verb: (N,) class ids.
    noun: (N,) class ids.
    mu: (V, M), not negative; pairs of 0 are never predicted.
    k: ranks below it are told apart.

  Returns:
    int64 (N,), of equal pairs the one with the lower verb, then noun, being ahead, and
    V * M for a pair that is not among the k best; and (N, 2) the verb and noun of the best pair.
  """
  (verbs, nouns), count = (log_verb.shape[1], log_noun.shape[1]), len(verb)
  true = np.asarray(verb, np.int64) * nouns + np.asarray(noun, np.int64)
  best = np.zeros((count, min(k, verbs * nouns)), np.int64)
  if mu is None:  # of the product, the k best pairs are made of the k best verbs and nouns
    v, n = accuracy.ranked(log_verb, k), accuracy.ranked(log_noun, k)
    scores = np.take_along_axis(log_verb, v, 1)[:, :, None] + np.take_along_axis(log_noun, n, 1)[:, None]
    ids = (v[:, :, None] * nouns + n[:, None]).reshape(count, v.shape[1] * n.shape[1])
    order = np.lexsort((ids, -scores.reshape(ids.shape)), axis=-1)[:, :best.shape[1]]
    best[:, :order.shape[1]] = np.take_along_axis(ids, order, 1)
    hit = best == true[:, None]
  else:
    step, hit = max(1, _BLOCK // (verbs * nouns)), np.zeros(best.shape, bool)
    log_mu = _log(mu)
    for start in range(0, count, step):
      rows = slice(start, start + step)
      scores = (log_verb[rows, :, None] + log_noun[rows, None] + log_mu).reshape(-1, verbs * nouns)
      for i in range(best.shape[1]):
        best[rows, i] = scores.argmax(1)
        at = np.arange(len(scores)), best[rows, i]
        hit[rows, i] = (best[rows, i] == true[rows]) & ~np.isneginf(scores[at])
        scores[at] = -np.inf
  ranks = np.where(hit.any(1), hit.argmax(1), verbs * nouns)
  return ranks, np.stack(np.divmod(best[:, 0], nouns), -1)


def best_actions(verb_scores: np.ndarray, noun_scores: np.ndarray, count: int = 100, mu: np.ndarray | None = None,
                 probabilities: bool = False, candidates: int = 100) -> tuple[np.ndarray, np.ndarray]:
  """The best pairs of each example, as the EPIC-KITCHENS-100 challenge lists them.

  Args:
    verb_scores: (N, V).
    noun_scores: (N, M).
    count: pairs.
    mu: (V, M), of which the challenge has none.
    probabilities: whether scores are such, rather than logits.
    candidates: verbs and nouns that pairs are made of, the best of each.

  Returns:
    int64 (N, count) verb * 1000 + noun, and log-scores (N, count), the highest first.
  """
  logs = [log_probabilities(s, probabilities) for s in (verb_scores, noun_scores)]
  kept = [accuracy.ranked(s, candidates) for s in logs]
  count = min(count, kept[0].shape[1] * kept[1].shape[1])
  ids, values = [], []
  for v, n, tops_v, tops_n in zip(*logs, *kept):
    scores = v[tops_v][:, None] + n[tops_n] + (0 if mu is None else _log(mu)[np.ix_(tops_v, tops_n)])
    order = np.argsort(-scores, axis=None, kind="stable")[:count]
    at_v, at_n = np.divmod(order, len(tops_n))
    ids.append(tops_v[at_v] * ACTION_ID + tops_n[at_n])
    values.append(scores[at_v, at_n])
  shape = (len(ids), count)
  return np.array(ids, np.int64).reshape(shape), np.array(values).reshape(shape)


def class_precision_recall(predicted: np.ndarray, true: np.ndarray, classes: Iterable[int] | None = None
                           ) -> tuple[float, float]:
  """Means over classes of precision and recall.

  Args:
    predicted: (N,) ids.
    true: (N,) ids.
    classes: that are averaged over; None: those that occur in `true`.

  Returns:
    Percent. The precision of a class that is never predicted is 0; a class that never
    occurs is left out of both.
  """
  known = np.unique(true) if classes is None else np.intersect1d(np.unique(true), list(classes))
  hits = np.array([np.sum((predicted == c) & (true == c)) for c in known], float)
  found = np.array([np.sum(predicted == c) for c in known], float)
  count = np.array([np.sum(true == c) for c in known], float)
  return mean_known(100 * hits / np.maximum(found, 1)), mean_known(100 * hits / np.maximum(count, 1))


def evaluate(verb_scores: np.ndarray, noun_scores: np.ndarray, verb: np.ndarray, noun: np.ndarray,
             prior: np.ndarray | None = None, probabilities: bool = False, unseen: np.ndarray | None = None,
             tail: Mapping[str, Iterable[int]] | None = None, many_shot: Mapping[str, Iterable[int]] | None = None
             ) -> dict[str, float]:
  """All measures of a split.

  | key | what |
  |---|---|
  | verb/top-1, verb/top-5, noun/..., action/... | accuracy |
  | verb/mean class, ... | accuracy per class, mean over the classes that occur; of actions over pairs |
  | verb/precision, verb/recall, ... | means over many-shot classes, or over those that occur |
  | unseen/verb/top-1, ... | of participants that training does not know |
  | tail/verb/top-1, tail/noun/top-1 | of segments with a tail verb, of those with a tail noun |
  | tail/action/top-1 | of segments with either |

  Examples where a verb or a noun is unknown (-1) are left out of the measures that need it.

  Args:
    verb_scores: (N, V) logits.
    noun_scores: (N, M) logits.
    verb: (N,) class ids.
    noun: (N,) class ids.
    prior: mu (V, M) for actions, see the function `prior`; None: the product of both.
    probabilities: whether scores are such, rather than logits.
    unseen: (N,) bool.
    tail: class ids of 'verb' and 'noun'.
    many_shot: class ids of 'verb', 'noun', and of 'action' as verb * 1000 + noun.

  Raises:
    ValueError: arrays that do not belong together.
  """
  verb, noun = np.asarray(verb, np.int64), np.asarray(noun, np.int64)
  logs = {"verb": log_probabilities(verb_scores, probabilities), "noun": log_probabilities(noun_scores, probabilities)}
  shape = (logs["verb"].shape[1], logs["noun"].shape[1])
  if not len(logs["verb"]) == len(logs["noun"]) == len(verb) == len(noun):
    raise ValueError(f"{len(logs['verb'])} and {len(logs['noun'])} rows of scores for {counted(len(verb), 'verb')} and"
                     f" {counted(len(noun), 'noun')}.")
  if prior is not None and np.shape(prior) != shape:
    raise ValueError(f"a prior of shape {np.shape(prior)} for {shape[0]} verbs and {shape[1]} nouns.")
  both = (verb >= 0) & (noun >= 0)
  ranks, best = action_ranks(logs["verb"][both], logs["noun"][both], verb[both], noun[both], prior)
  rows = {"verb": verb >= 0, "noun": noun >= 0, "action": both}
  true = {"verb": verb, "noun": noun, "action": verb * ACTION_ID + noun}
  tops = {name: accuracy.ranked(logs[name], 1)[:, 0] for name in logs}
  hits = {name: {k: np.any(accuracy.ranked(logs[name], k) == true[name][:, None], 1)[rows[name]] for k in (1, 5)}
          for name in logs}
  hits["action"] = {k: ranks < k for k in (1, 5)}
  predicted = {**{name: tops[name][rows[name]] for name in logs}, "action": best[:, 0] * ACTION_ID + best[:, 1]}
  result = {}
  for name in ("verb", "noun", "action"):
    own = true[name][rows[name]]
    result.update({f"{name}/top-{k}": _share(hits[name][k]) for k in (1, 5)})
    result[f"{name}/mean class"] = mean_known([_share(hits[name][1][own == c]) for c in np.unique(own)])
    found = class_precision_recall(predicted[name], own, (many_shot or {}).get(name))
    result[f"{name}/precision"], result[f"{name}/recall"] = found
  parts = {}
  if unseen is not None:
    parts["unseen"] = dict.fromkeys(rows, np.asarray(unseen, bool))
  if tail is not None:
    rare = {name: np.isin(true[name], list(tail[name])) for name in ("verb", "noun")}
    parts["tail"] = {**rare, "action": rare["verb"] | rare["noun"]}
  for part, chosen in parts.items():
    for name in rows:
      result[f"{part}/{name}/top-1"] = _share(hits[name][1][chosen[name][rows[name]]])
  return result


def _share(hits: np.ndarray) -> float:
  return 100.0 * float(np.mean(hits)) if len(hits) else float("nan")


def submission(ids: Sequence[str], verb_scores: np.ndarray, noun_scores: np.ndarray,
               wanted: Iterable[str] | None = None, actions: int = 0, mu: np.ndarray | None = None,
               version: str = "0.2", pretraining: int = -1, labels: int = -1, data: int = -1) -> dict[str, Any]:
  """The JSON of an action recognition challenge of EPIC-KITCHENS.

  Args:
    ids: narration ids (EPIC-55: uids), one per row.
    verb_scores: (N, V) logits or probabilities.
    noun_scores: (N, M).
    wanted: ids that the challenge asks for; None: those given.
    actions: how many of the best pairs are listed, as 'verb,noun'; 0: none.
    mu: (V, M), of the pairs.
    version: of the format; "0.1" for EPIC-55.
    pretraining: supervision level of pretraining, 0 to 5; -1: not said.
    labels: of training labels.
    data: of training data.

  Raises:
    DataError: an id twice, one that is asked for and missing, or scores that are not finite.
  """
  seen: set[str] = set()
  for i, name in enumerate(ids):
    if name in seen:
      raise errors.DataError(f"submission, row {i + 1}: '{name}' stands twice.")
    seen.add(name)
    if not (np.isfinite(verb_scores[i]).all() and np.isfinite(noun_scores[i]).all()):
      raise errors.DataError(f"submission, row {i + 1}: the scores of '{name}' are not finite.")
  missing = [name for name in wanted or () if name not in seen]
  if missing:
    raise errors.DataError(f"submission: {len(missing)} of the segments asked for are missing, such as '{missing[0]}';"
                           " predict the whole test split.")
  as_text = lambda row: {str(c): float(s) for c, s in enumerate(row)}
  results = {name: {"verb": as_text(v), "noun": as_text(n)} for name, v, n in zip(ids, verb_scores, noun_scores)}
  if actions:
    pairs, scores = best_actions(verb_scores, noun_scores, actions, mu)
    for name, own, values in zip(ids, pairs, scores):
      results[name]["action"] = {"{},{}".format(*divmod(int(p), ACTION_ID)): float(s) for p, s in zip(own, values)
                                 if np.isfinite(s)}
  return {"version": version, "challenge": "action_recognition", "sls_pt": pretraining, "sls_tl": labels,
          "sls_td": data, "results": results}
