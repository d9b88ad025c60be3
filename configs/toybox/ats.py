"""Small joint space-time transformer with adaptive token sampling on Toybox `motion`: eight classes that need motion or order.

vidx data toybox --out=runs/toybox/motion
vidx train --config=configs/toybox/ats.py --workdir=runs/ats
vidx predict --workdir=runs/ats --show=kept,attention runs/toybox/motion/val/*/*.mp4
Ours: after six epochs 10.0 % of the validation videos of `motion`, which is chance. Of --labels=appearance, 8 epochs:
40.6 %, with 170, 103 and 82 of 392 tokens left, 0.294 of 0.446 GMACs, 95.6 against 83.9 clips/s (34.1 % of the
products and 12.2 % of the time are saved).
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ats_timesformer_joint", image=56, patch=8, frames=8, dim=96, depth=6, heads=3, stages=(3, 4, 5))
  c.data.update(root="runs/toybox/motion", dataset=dict(name="folder"), frames=8, sampler="uniform",
                short_side=64, crop=56, crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05, clip_norm=1.0)
  c.schedule.update(name="cosine", peak=1e-3, warmup_epochs=1.0, epochs=11.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=3.0)
  c.checkpoint.every_epochs = 3.0
  return c
