"""TSN on Mini-Kinetics, 8 segments: the classifier that configs/minikinetics/psn.py chooses frames for.

The network starts from ImageNet, a folder that `vidx convert` wrote; its name may follow the file's.

vidx train --config=configs/minikinetics/tsn.py --config.data.root=... --config.train.init_from=IMAGENET --workdir=...
vidx train --config=configs/minikinetics/tsn.py:resnet_101 ...
"""

from vidx.train import config

VARIANTS = ("resnet_50", "resnet_101")


def get_config(trunk="resnet_50"):
  c = config.base()
  c.system = dict(name="tsn", trunk=trunk, num_classes=200, dropout=0.5)
  c.task = dict(name="classification")
  c.data.update(dataset=dict(name="frame_list", file="mini_{split}_videofolder.txt", pattern="{:05d}.jpg"),
                frames=8, sampler="segments", short_side=256, crop=224)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4, clip_norm=20.0)
  c.schedule.update(name="step", peak=0.002, epochs=50.0, milestones=(20.0, 40.0))
  c.train.batch_size = 32
  c.train.init_exclude = ("head/fc",)
  return c
