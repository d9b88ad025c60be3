"""Small HATNet on Toybox `tags`: six kinds of tags, of one head or of a head for each kind.

The word behind the colon: standard or multi_task.

vidx data toybox --out=runs/toybox/tags --labels=tags
vidx train --config=configs/toybox/hatnet.py:multi_task --workdir=runs/hatnet
vidx eval --workdir=runs/hatnet
Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("standard", "multi_task")


def get_config(variant="standard"):
  c = config.base()
  heads = variant == "multi_task"
  c.system = dict(name="hatnet_18", stages=(1, 1, 1), width=16, strides=(1, 2, 2), time_strides=(1, 2, 2),
                  zero_init=False)
  c.task = dict(name="multilabel", heads=heads, by_category=heads)
  c.data.update(root="runs/toybox/tags", dataset=dict(name="hvu"), frames=8, sampler="uniform", short_side=64, crop=56,
                crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=1.0, epochs=10.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
