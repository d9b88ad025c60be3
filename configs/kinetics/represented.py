"""TSM ResNet-50 on what becomes of 8 segments, as configs/ucf101/represented.py: Kinetics-400.

The word behind the colon is one of vidx.systems.represented.REPRESENTATIONS.

vidx train --config=configs/kinetics/represented.py:band_pass --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
Published: rgb 71.2, rgb_difference 71.4, stacked flow 55.7, dynamic_image 68.3, band_pass 72.3; ours: not yet measured.
"""

from vidx.systems.represented import REPRESENTATIONS
from vidx.train import config

VARIANTS = tuple(REPRESENTATIONS)


def get_config(representation="rgb"):
  c = config.load_file(f"configs/ucf101/represented.py:{representation}")
  c.system.num_classes = 400
  c.data.sampler = "dense"
  c.data.dataset = dict(name="kinetics")
  c.optimizer.weight_decay = 2e-4
  c.schedule.update(peak=0.08, reference_batch=512, epochs=100.0)
  c.train.batch_size = 512
  return c
