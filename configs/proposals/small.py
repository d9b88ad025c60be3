"""Objects of videos without labels and without weights, in seconds a frame on a CPU: fewer boxes, five tubes with masks.

vidx propose --config=configs/proposals/small.py --show --out=runs/objects VIDEO...
vidx propose --config=configs/proposals/small.py --dataset=davis --root=... --out=runs/davis

Measured on twelve sequences of DAVIS 2016 for validation, every second frame of 240 lines: J of the first tube 46.0, of
the best of five 52.2 (boxes 50.4 and 59.0), where the middle of the frame has 20.2 and what differs from the median of
the clip 12.4 (of all twenty); 1.4 to 3.3 s a frame on two busy cores. Below 35 of the best of five are bmx-trees,
drift-chicane and libby: what is thin, far away or behind smoke or plants is in few of the boxes.
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
