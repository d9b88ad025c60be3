"""Objects of SegTrack-v2 without labels.

vidx propose --config=configs/proposals/segtrack_v2.py --dataset=segtrack2 --root=... --out=runs/segtrack_v2
Published, with AlexNet's features: 69.1 per object, 73.9 per sequence, rank 121.9, 2464.5 pixels; ours:
not yet measured.
"""

from vidx.infer.proposals import settings


def get_config():
  c = settings.base()
  c.clusters.update(k=(1, 3, 5, 7, 9), keep=150)
  return c
