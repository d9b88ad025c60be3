"""Ranking of videos for texts and of texts for videos: NumPy in, ranks and percent out.

Ranks count from 0, by numbers of better candidates and not by sorting: candidates of
equal similarity share the mean of the places that they take, as in the code of
Liu et al.: "Use What You Have: Video Retrieval Using Representations From
Collaborative Experts", 2019, and of Gabeur et al.: "Multi-modal Transformer for
Video Retrieval", 2020. A tied first place, rank 0.5, is no hit at 1.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from vidx.terminal import counted

KS = (1, 5, 10, 50)
EPS = 1e-5  # least sum of the weights of the experts that a video has
BLOCK = 1 << 24  # numbers that are looked at in one piece


def ranks(similarity: np.ndarray, owner: np.ndarray | None = None, groups: np.ndarray | None = None
          ) -> tuple[np.ndarray, np.ndarray]:
  """Places of what is right, best placed where several are.

  Args:
    similarity: (texts, videos), larger is nearer; float of any kind.
    owner: (texts,) int, the group of videos that each text describes; -1: a text that is missing, which is no query
      and no candidate. None: text i describes video i.
    groups: (videos,) int, to which group each video belongs; None: video j is group j, so that `owner` names videos.

  Returns:
    (queries,) float64 ranks of texts that are there and have a video, in order, and those of videos that have a text.

  Raises:
    ValueError: shapes that do not fit each other, or similarities that are not numbers.
  """
  texts, videos = similarity.shape
  if owner is None and texts != videos:
    raise ValueError(f"{counted(texts, 'text')} and {counted(videos, 'video')} are no pairs: say by `owner` which video"
                     " each text describes")
  owner = np.arange(texts) if owner is None else np.asarray(owner)
  groups = np.arange(videos) if groups is None else np.asarray(groups)
  if owner.shape != (texts,) or groups.shape != (videos,):
    raise ValueError(f"owner {owner.shape} and groups {groups.shape} do not fit {counted(texts, 'text')} and"
                     f" {counted(videos, 'video')}")
  rows = max(1, BLOCK // max(1, videos))
  blocks = [slice(at, at + rows) for at in range(0, texts, rows)]
  there = owner >= 0
  video_best = np.full(videos, -np.inf)
  of_texts = np.full(texts, np.nan)
  for at in blocks:
    part = np.asarray(similarity[at])
    if np.isnan(part).any():
      raise ValueError("a similarity is not a number")
    right = owner[at, None] == groups
    best = np.where(right, part, -np.inf).max(1, initial=-np.inf)
    found = right.any(1) & there[at]
    of_texts[at] = np.where(found, _place(part, best[:, None], 1), np.nan)
    video_best = np.maximum(video_best, np.where(right & there[at, None], part, -np.inf).max(0, initial=-np.inf))
  better, equal = np.zeros(videos), np.zeros(videos)
  for at in blocks:
    part = np.asarray(similarity[at])[there[at]]
    better += (part > video_best).sum(0)
    equal += (part == video_best).sum(0)
  described = np.isin(groups, owner[there])
  return of_texts[~np.isnan(of_texts)], (better + (equal - 1) / 2)[described]


def _place(values: np.ndarray, best: np.ndarray, axis: int) -> np.ndarray:
  """How many are better, plus half of how many others are equal."""
  return (values > best).sum(axis) + ((values == best).sum(axis) - 1) / 2


def summary(found: np.ndarray, ks: Sequence[int] = KS) -> dict[str, float]:
  """R@1, R@5, ... in percent, MdR and MnR (places from 1), and gmean, the geometric mean of R@1, R@5 and R@10.

  Args:
    found: (queries,) ranks from 0.
    ks: of recall.
  """
  if not len(found):
    return {**{f"R@{k}": float("nan") for k in ks}, "MdR": float("nan"), "MnR": float("nan"), "gmean": float("nan")}
  recall = lambda k: 100.0 * float(np.mean(found == 0 if k == 1 else found < k))
  return {**{f"R@{k}": recall(k) for k in ks}, "MdR": float(np.median(found) + 1), "MnR": float(np.mean(found) + 1),
          "gmean": float(np.cbrt(recall(1) * recall(5) * recall(10)))}


def evaluate(similarity: np.ndarray, owner: np.ndarray | None = None, groups: np.ndarray | None = None,
             ks: Sequence[int] = KS) -> dict[str, float]:
  """All measures in both directions (Wang 2021, section 6.3.1).

  From text to video every text is a query; from video to text the best placed of a video's texts counts.

  Args:
    similarity: as in `ranks`.
    owner: as in `ranks`.
    groups: as in `ranks`.
    ks: of recall.

  Returns:
    {'t2v/R@1', ..., 't2v/MdR', 't2v/MnR', 't2v/gmean', 'v2t/R@1', ..., 'v2t/gmean'}.
  """
  both = dict(zip(("t2v", "v2t"), ranks(similarity, owner, groups)))
  return {f"{way}/{name}": value for way, found in both.items() for name, value in summary(found, ks).items()}


def similarity(text: Mapping[str, np.ndarray], video: Mapping[str, np.ndarray], parts: Sequence[str] = (),
               block: int = 4096) -> np.ndarray:
  """Scores of factored embeddings, a few texts at a time (Wang 2021, eq. 6.4 and section 6.2.4).

  The global score is the mean of the experts' cosines under the weights of the text, over the experts that a video
  has; the local one the mean of the centres' cosines; the result the mean of both.

  Args:
    text: 'weights' (texts, N), 'global' (texts, N, C), 'local' (texts, K, C), those that there are.
    video: 'available' (videos, N) 1 or 0, 'global' (videos, N, C), 'local' (videos, K, C), unit rows.
    parts: 'global', 'local' or both; empty: those that both have.
    block: texts at a time.

  Returns:
    (texts, videos) float32 in -1..1.

  Raises:
    ValueError: neither part is there.
  """
  used = [p for p in ("global", "local") if p in text and p in video and (not parts or p in parts)]
  if not used:
    raise ValueError(f"embeddings have no {' or '.join(parts) or 'global or local part'}")
  flat = lambda x: np.asarray(x, np.float32).reshape(len(x), -1)
  count = len(text[used[0]])
  out = np.zeros((count, len(video[used[0]])), np.float32)
  for part in used:
    seen = flat(video[part])
    if part == "global":
      available = flat(video["available"])
      seen = (np.asarray(video["global"], np.float32) * available[..., None]).reshape(len(seen), -1)
    for at in range(0, count, block):
      some = slice(at, at + block)
      if part == "local":
        out[some] += flat(text["local"][some]) @ seen.T / (text["local"].shape[1] * len(used))
      else:
        weights = flat(text["weights"][some])
        said = flat(np.asarray(text["global"][some], np.float32) * weights[..., None])
        out[some] += (said @ seen.T) / np.maximum(weights @ available.T, EPS) / len(used)
  return out

