"""Parallel sampling network, ActivityNet v1.3: 10 (of ResNet-50: 6) of 25 frames for a classifier that stays as it is.

vidx train --config=configs/activitynet/psn.py --config.data.root=... --workdir=...
           --config.train.init_from="(('/classifier/', 'TSN_RUN'), ('/sampler/', 'IMAGENET_SHUFFLENET'))"
TSN_RUN is one of tsn.py, or of tsn.py:single_frames, whose classifier has learned from frames alone.
Published: 82.28 mAP at 82.3 GFLOPs (ResNet-101), 78.3 at 28.6 (`psn.py:resnet_50`); ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("resnet_101", "resnet_50")


def get_config(trunk="resnet_101"):
  c = config.base()
  c.system = dict(name="psn", trunk=trunk, num_classes=200, dropout=0.5, keep=6 if trunk == "resnet_50" else 10)
  c.task = dict(name="multilabel", activation="softmax")
  c.data.update(dataset=dict(name="frame_list", file="actnet_{split}_split.txt", multilabel=True),
                frames=25, sampler="segments", short_side=256, crop=224)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="step", peak=0.002, epochs=15.0, milestones=(10.0,))
  c.train.batch_size = 32
  return c
