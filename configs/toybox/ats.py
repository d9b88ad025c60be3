"""Small convolutional vision transformer with adaptive token sampling on Toybox `appearance`: a coloured shape.

vidx data toybox --out=runs/toybox/appearance --labels=appearance
vidx train --config=configs/toybox/ats.py --workdir=runs/ats
vidx predict --workdir=runs/ats --show=kept,attention runs/toybox/appearance/val/*/*.mp4
Ours: 47.5 % of the validation videos, with 110, 82, 56 and 42 of 197 tokens left, 0.146 of 0.344 GMACs and 156 against
146 clips/s: 57.5 % of the products and 6.5 % of the time are saved; larger models gain more (vidx/bench/README.md).
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ats_cvt_13", dims=(32, 96), depths=(1, 5), heads=(1, 3), kernels=(5, 3), strides=(2, 2),
                  paddings=(2, 1), stages=(1, 2, 3, 4))
  c.data.update(root="runs/toybox/appearance", dataset=dict(name="folder"), frames=2, sampler="uniform",
                short_side=64, crop=56, crop_mode="random", flip=True, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05, clip_norm=1.0)
  c.schedule.update(name="cosine", peak=1e-3, warmup_epochs=1.0, epochs=20.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=3.0)
  c.checkpoint.every_epochs = 3.0
  return c
