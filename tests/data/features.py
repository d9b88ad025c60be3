"""A small folder of feature sequences in the layout of the reader `segments`, and a system that reads such batches."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vidx.train import config

CLASSES = ("rest", "reach", "hold", "release")
SIZE = 6


def write(root, train=7, val=3, least=20, most=90, seed=0):
  """Videos of 2 to 4 segments whose features are those of their class, and noise; returns labels by name."""
  rng = np.random.default_rng(seed)
  (root / "features").mkdir(parents=True)
  (root / "labels").mkdir()
  (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
  prototypes = rng.normal(size=(len(CLASSES), SIZE))
  labels = {}
  for i in range(train + val):
    cuts = np.sort(rng.choice(np.arange(3, least), rng.integers(1, 4), replace=False))
    frames = int(rng.integers(least, most))
    order = rng.permutation(len(CLASSES))
    y = np.repeat(order[:len(cuts) + 1], np.diff([0, *cuts, frames]))
    labels[f"v{i}"] = y
    np.save(root / f"features/v{i}.npy", (prototypes[y] + 0.3 * rng.normal(size=(frames, SIZE))).astype("f"))
    np.save(root / f"labels/v{i}.npy", y)
  for split, names in (("train", range(train)), ("val", range(train, train + val))):
    (root / f"{split}.txt").write_text("".join(f"v{i}\n" for i in names))
  return labels


def settings(root, **data):
  """A config that trains `Framewise` on such a folder."""
  c = config.base()
  c.system = dict(name="framewise")
  c.task = dict(name="segmentation", background="rest")
  c.data.dataset = dict(name="segments")
  c.data.update({"root": str(root), "workers": 0, **data})
  c.optimizer.update(momentum=0.0)
  c.schedule.update(name="constant", peak=0.3, epochs=4.0)
  c.train.update(batch_size=2)
  c.eval.update(batch_size=2, every_epochs=0.0)
  c.checkpoint.every_epochs = 0.0
  return c


class Framewise(nn.Module):
  """A linear classifier of frames; the set of actions is its second read-out."""

  num_classes: int = len(CLASSES)
  dtype: type | None = None
  inputs = ("features", "length", "label", "frame_label")

  def site_names(self):
    return ()

  @nn.compact
  def __call__(self, features, length, label=None, frame_label=None, train=False):
    logits = nn.Dense(self.num_classes)(nn.Dropout(0.1, deterministic=not train)(features))
    live = jnp.arange(features.shape[1]) < length[:, None]
    out = {"losses": {}, "stats": {"live": live.sum(1).astype(jnp.float32)}}
    if frame_label is not None:
      known = (frame_label >= 0) & live
      picked = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(frame_label, 0)[..., None], -1)[..., 0]
      out["losses"]["frames"] = -jnp.where(known, picked, 0).sum(1) / jnp.maximum(known.sum(1), 1)
    if not train:
      first = jnp.zeros_like(logits[..., 0], jnp.int32)
      predictions = {"top": logits.argmax(-1).astype(jnp.int32), "none": first}
      out["predictions"] = {k: jnp.where(live, v, -1) for k, v in predictions.items()}
      out["confidence"] = jax.nn.softmax(logits).max(-1)
    return out
