"""TSM ResNet-50 on what becomes of 8 segments, as configs/ucf101/represented.py: Something-Something V1, no flips.

The word behind the colon is one of vidx.systems.represented.REPRESENTATIONS; rgb_x3d_m and band_pass_x3d_m stand for
16 segments, X3D-M in place of TSM ResNet-50, and a training from scratch. On MobileNet-V2:
--config.system.trunk=tsm_mobilenet_v2.

vidx train --config=configs/ssv1/represented.py:band_pass --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
Published: rgb 46.5, rgb_difference 46.6, stacked flow 37.4, dynamic_image 43.3, squeezed 42.7, appearance 48.7,
band_pass 48.0; rgb and flow 49.8, rgb and band_pass 50.3 (`vidx eval --fuse`); MobileNet-V2 rgb 38.7, band_pass 39.8;
rgb_x3d_m 45.5, band_pass_x3d_m 46.9; ours: not yet measured.
"""

from vidx.systems.represented import REPRESENTATIONS
from vidx.train import config

VARIANTS = (*REPRESENTATIONS, "rgb_x3d_m", "band_pass_x3d_m")


def get_config(which="rgb"):
  c = config.load_file(f"configs/ucf101/represented.py:{which.removesuffix('_x3d_m')}")
  c.system.update(num_classes=174, dropout=0.8)
  c.data.update(flip=False)
  c.data.dataset = dict(name="ssv1")
  c.optimizer.weight_decay = 8e-4
  c.schedule.update(peak=0.12, reference_batch=256, epochs=50.0)
  c.train.batch_size = 256
  if which.endswith("x3d_m"):
    c.system.update(trunk="x3d_m", dropout=0.5)
    c.data.update(frames=16, mean=(0.45,) * 3, std=(0.225,) * 3)
    c.optimizer.update(weight_decay=5e-5, groups=(("head/.*kernel", 5.0, 5.0), ("head/.*bias", 5.0, 0.0)))
    c.schedule.update(peak=0.2, epochs=100.0)
  return c
