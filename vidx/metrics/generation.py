"""Scores of generated images: pixels, Frechet distance, learned perceptual distance, affinity of identities and poses.

Heusel et al.: "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium", 2017 (FID). Zhang et al.: "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", 2018 (LPIPS). Xiao: "Multimodal Learning with
Minimal Human Supervision", 2020, chapter 5 (scores of identity and pose).

Three of them are those of the papers only with the weights of certain networks: they take the
name of what gave the features, and refuse others.
"""

from collections.abc import Sequence

import numpy as np

from vidx import errors

#: {metric: weights of the network without which it is another metric}
WEIGHTS = {"fid": "pt_inception-2015-12-05", "lpips": "alexnet-imagenet-lpips-0.1"}
#: {metric: first digits of the SHA-256 of the files that are these weights}; of lpips of the network and of its heads
FILES = {"fid": (("6726825d",),), "lpips": (("7be5be79", "4df8aa71"), ("df73285e",))}
LPIPS_SITES = ("conv1", "conv2", "conv3", "conv4", "conv5")  # of AlexNet
LPIPS_MEAN, LPIPS_STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in -1..1


def image_errors(images: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
  """How far images are from their targets.

  Args:
    images: (N, H, W, 3) uint8.
    targets: (N, H, W, 3) uint8.

  Returns:
    (N,) float64 each: 'psnr' in dB (at most 100), 'l1' and 'colour' (of the mean colours) in percent of the range.
  """
  x, y = (np.asarray(a, np.float64) / 255 for a in (images, targets))
  square = ((x - y) ** 2).mean((1, 2, 3))
  return {"psnr": -10 * np.log10(np.maximum(square, 1e-10)), "l1": 100 * np.abs(x - y).mean((1, 2, 3)),
          "colour": 100 * np.abs(x.mean((1, 2)) - y.mean((1, 2))).mean(1)}


def named(metric: str, weights: str) -> None:
  """Refuses features of other weights than those that make the metric.

  Raises:
    ConfigError: no or other weights.
  """
  if weights != WEIGHTS[metric]:
    raise errors.ConfigError(f"{metric} is the metric of that name with the weights '{WEIGHTS[metric]}' only, not with"
                             f" '{weights or 'none'}': convert them, or compare features as what they are.")


def known(metric: str, *digests: str) -> str:
  """The name of the metric's weights if these are the SHA-256 of their files, '' otherwise."""
  files = FILES[metric]
  fits = len(digests) == len(files) and all(d.startswith(f) for d, f in zip(digests, files))
  return WEIGHTS[metric] if fits else ""


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean (D,) and unbiased covariance (D, D) of features (N, D), float64.

  Raises:
    DataError: fewer than two rows.
  """
  features = np.asarray(features, np.float64)
  if len(features) < 2:
    raise errors.DataError(f"a covariance needs two images at least, there are {len(features)}.")
  return features.mean(0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet(mean: np.ndarray, cov: np.ndarray, other_mean: np.ndarray, other_cov: np.ndarray) -> float:
  """Squared Frechet distance of two Gaussians: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

  The trace of the root is the sum of the roots of the eigenvalues of S1^(1/2) S2 S1^(1/2),
  which is symmetric, so that singular covariances do no harm.
  """
  values, vectors = np.linalg.eigh(np.asarray(cov, np.float64))
  root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
  inner = np.linalg.eigvalsh(root @ np.asarray(other_cov, np.float64) @ root)
  shift = np.asarray(mean, np.float64) - np.asarray(other_mean, np.float64)
  return float(max(0.0, shift @ shift + np.trace(cov) + np.trace(other_cov) - 2 * np.sqrt(np.maximum(inner, 0)).sum()))


def fid(features: np.ndarray, others: np.ndarray, weights: str) -> float:
  """Frechet inception distance of two sets of images.

  Args:
    features: (N, 2048) of Inception-V3 in its FID form.
    others: (M, 2048).
    weights: name of the network's weights.

  Raises:
    ConfigError: other weights than those of the metric.
  """
  named("fid", weights)
  return frechet(*moments(features), *moments(others))


def lpips(features: Sequence[np.ndarray], others: Sequence[np.ndarray], heads: Sequence[np.ndarray], weights: str
          ) -> np.ndarray:
  """Learned perceptual distance of pairs of images: sum over layers of the mean over pixels of w (x/|x| - y/|y|)^2.

  Args:
    features: per layer (N, H, W, C), of AlexNet's five convolutions.
    others: the same of the other images.
    heads: per layer (C,) learned weights.
    weights: name of the network's weights and heads.

  Returns:
    (N,) float64.

  Raises:
    ConfigError: other weights than those of the metric.
  """
  named("lpips", weights)
  unit = lambda x: x / (np.sqrt((x ** 2).sum(-1, keepdims=True)) + 1e-10)
  total = 0.0
  for x, y, head in zip(features, others, heads, strict=True):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    total = total + (((unit(x) - unit(y)) ** 2) @ np.asarray(head, np.float64)).mean((1, 2))
  return total


def affinity(features: np.ndarray, others: np.ndarray) -> np.ndarray:
  """sigmoid of the cosine of features (N, D) of images and of what gave identity or pose: (N,) in 0.269..0.731."""
  x, y = (np.asarray(a, np.float64) for a in (features, others))
  length = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
  return 1 / (1 + np.exp(-(x * y).sum(-1) / np.maximum(length, 1e-12)))


def margin_loss(anchor: np.ndarray, same: np.ndarray, other: np.ndarray, margin: float = 0.3) -> np.ndarray:
  """max(f(x1) f(y) - f(x1) f(x2) + m, 0) of unit features (..., D), which trains the network of the identity score."""
  product = lambda a, b: (a * b).sum(-1)
  return (product(anchor, other) - product(anchor, same) + margin).clip(0)
