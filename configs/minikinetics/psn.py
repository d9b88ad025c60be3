"""Parallel sampling network on Mini-Kinetics: 6 of 25 frames for a classifier that stays as it is.

vidx train --config=configs/minikinetics/psn.py --config.data.root=... --workdir=...
           --config.train.init_from="(('/classifier/', 'TSN_RUN'), ('/sampler/', 'IMAGENET_SHUFFLENET'))"
Published: 72.7 top-1 at 28.6 GFLOPs; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("resnet_50", "resnet_101")


def get_config(trunk="resnet_50"):
  c = config.base()
  c.system = dict(name="psn", trunk=trunk, num_classes=200, dropout=0.5, keep=6)
  c.task = dict(name="classification")
  c.data.update(dataset=dict(name="frame_list", file="mini_{split}_videofolder.txt", pattern="{:05d}.jpg"),
                frames=25, sampler="segments", short_side=256, crop=224)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="step", peak=0.002, epochs=15.0, milestones=(10.0,))
  c.train.batch_size = 32
  return c
