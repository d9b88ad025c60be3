"""X3D with similarity guided sampling, Kinetics-600, from scratch.

The size may follow the file's name: m or xl.

vidx train --config=configs/kinetics600/atfr_x3d.py:xl --config.data.root=... --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256  (356 for XL)
Published (10x3 views, GFLOPs of one): M 79.0 top-1 at 3.3, without sampling (--config.system.control=none) 78.8 at 6.2;
XL 82.1 at 25.6, without 81.9 at 48.4; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("m", "xl")


def get_config(size="m"):
  c = config.load_file(f"configs/kinetics/atfr_x3d.py:{size}")
  c.system.num_classes = 600
  return c
