"""Small 3D ResNet with similarity guided sampling on Toybox `redundant`: clips of which some hardly change.

vidx data toybox --out=runs/toybox/redundant --labels=redundant
vidx train --config=configs/toybox/atfr.py --workdir=runs/atfr
vidx eval --workdir=runs/atfr
For comparison: --config.system.control=uniform --config.system.keep=8, random, or none.
Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="atfr_resnet3d_slim_18", stages=(1, 1, 1), widths=(8, 16, 32), dropout=0.0)
  c.data.update(root="runs/toybox/redundant", dataset=dict(name="folder"), frames=16, sampler="uniform",
                short_side=64, crop=56, crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05, clip_norm=5.0)
  c.schedule.update(name="cosine", peak=4e-3, warmup_epochs=1.0, epochs=11.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=3.0)
  c.checkpoint.every_epochs = 3.0
  return c
