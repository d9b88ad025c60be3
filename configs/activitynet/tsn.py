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
  c = config.load_file(f"configs/fcvid/tsn.py:{trunk}")
  c.system.num_classes = 200
  c.data.dataset.file = "actnet_{split}_split.txt"
  return c
