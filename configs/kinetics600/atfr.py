"""SlowFast 4x16 R50 with similarity guided sampling, 32 frames, stride 2, Kinetics-600, from scratch.

vidx train --config=configs/kinetics600/atfr.py --config.data.root=... --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256
Published (10x3 views): without sampling (--config.system.control=none) 78.8 top-1 at 36.1 GFLOPs of one view; ours:
not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.load_file("configs/kinetics/atfr.py")
  c.system.num_classes = 600
  return c
