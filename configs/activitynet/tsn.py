"""TSN on ActivityNet v1.3, 8 segments: the classifier that configs/activitynet/psn.py chooses frames for.

The network starts from ImageNet, a folder that `vidx convert` wrote; its name may follow the file's.

vidx train --config=configs/activitynet/tsn.py --config.data.root=... --config.train.init_from=IMAGENET --workdir=...
vidx train --config=configs/activitynet/tsn.py:resnet_50 ...
vidx train --config=configs/activitynet/tsn.py:single_frames ... learns ResNet-101 from single frames, the other of
the two classifiers that the sampler is compared with.
"""

from vidx.train import config

VARIANTS = ("resnet_101", "resnet_50", "single_frames")


def get_config(trunk="resnet_101"):
  alone = trunk == "single_frames"
  c = config.base()
  c.system = dict(name="tsn", trunk="resnet_101" if alone else trunk, num_classes=200, dropout=0.5)
  c.task = dict(name="multilabel", activation="softmax")
  c.data.update(dataset=dict(name="frame_list", file="actnet_{split}_split.txt", multilabel=True),
                frames=1 if alone else 8, sampler="segments", short_side=256, crop=224)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4, clip_norm=20.0)
  c.schedule.update(name="step", peak=0.001 if alone else 0.002, epochs=50.0, milestones=(20.0, 40.0))
  c.train.batch_size = 64 if alone else 32
  c.train.init_exclude = ("head/fc",)
  return c
