"""Small TeSNet on Toybox `motion`: 8 frames become 3 images in front of a network that sees single images.

vidx data toybox --out=runs/toybox/motion
vidx train --config=configs/toybox/tesnet.py --workdir=runs/tesnet
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tesnet", trunk="resnet_18", stages=(1, 1, 1), width=24, dropout=0.0,
                  placements=(("input", 8, 3),), squeeze=dict(beta=1.0), consensus="concat")
  c.data.update(root="runs/toybox/motion", dataset=dict(name="folder"), frames=8, sampler="uniform",
                short_side=64, crop=56, crop_mode="random", flip=False, workers=0,
                mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=4e-3, warmup_epochs=1.0, epochs=11.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=3.0)
  c.checkpoint.every_epochs = 3.0
  return c
