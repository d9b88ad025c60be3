"""Small DAN on Toybox `motion`: a TSM on the dynamic appearance of 8 segments of 3 frames, both objectives by MGDA.

vidx data toybox --out=runs/toybox/motion
vidx train --config=configs/toybox/dan.py --workdir=runs/dan
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="dan", trunk="tsm_r50", block="basic", stages=(1, 1, 1), width=24, dropout=0.0,
                  consecutive=3, projection=dict(stride=4, kernel=5, features=12))
  c.task = dict(name="joint", mode="mgda")
  c.data.update(root="runs/toybox/motion", dataset=dict(name="folder"), frames=8, consecutive=3, sampler="uniform",
                short_side=64, crop=56, crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=4e-3, warmup_epochs=1.0, epochs=11.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=3.0)
  c.checkpoint.every_epochs = 3.0
  return c
