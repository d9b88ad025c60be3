"""Objects of videos without labels and without weights, in seconds a frame on a CPU: fewer boxes, five tubes with masks.

vidx propose --config=configs/proposals/small.py --show --out=runs/objects VIDEO...
vidx propose --config=configs/proposals/small.py --dataset=davis --root=... --out=runs/davis
"""

from vidx.infer.proposals import settings


def get_config():
  c = settings.base()
  c.video.stride = 2
  c.flow.camera = "affine"
  c.boxes.per_map = 200
  c.features.components = 128
  c.growing.fire = 400
  c.clusters.update(keep=30, likeness=0.3)  # of features around their mean, which are less alike than those of networks
  c.tubes.update(nms=0.6, masked=5)
  c.masks.iterations = 100
  return c
