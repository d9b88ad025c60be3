"""A small TSM from scratch on any folder of videos: for few videos and a CPU.

vidx train --config=configs/folder/tsm_small.py --config.data.root=FOLDER --workdir=runs/mine

FOLDER is as for configs/folder/tsm.py.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsm", trunk="resnet_18", stages=(1, 1, 1), width=24, dropout=0.5)
  c.data.update(frames=8, sampler="uniform", short_side=72, crop=64, workers=0, colour_jitter=0.2)
  c.optimizer.update(name="adamw", weight_decay=0.1, ema=0.98)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=2.0, epochs=60.0)
  c.train.batch_size = 16
  c.eval.every_epochs = 5.0
  c.checkpoint.every_epochs = 5.0
  return c
