"""TSM ResNet-50 on what becomes of 8 segments: frames, differences, flow, dynamic images, appearance, motion; UCF101.

vidx train --config=configs/ucf101/represented.py:band_pass --config.data.root=... --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
Split 1; --config.data.dataset.fold=2 chooses another. The word after the colon is one of
vidx.systems.represented.REPRESENTATIONS; `stacked` takes 5 images of optical flow, with --config.data.flow=...
Published: rgb 87.1, rgb_difference 87.0, stacked flow 88.5, dynamic_image 86.2, squeezed 88.5, appearance 89.7,
band_pass 90.3; ours: not yet measured.
"""

from vidx.systems.represented import REPRESENTATIONS
from vidx.train import config


def get_config(representation="rgb"):
  c = config.base()
  _, consecutive = REPRESENTATIONS.get(representation, ("", 1))
  c.system = dict(name="represented", representation=representation, num_classes=101, dropout=0.5)
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=8, consecutive=consecutive, sampler="uniform",
                short_side=256, crop=224)
  c.optimizer.update(name="sgd", weight_decay=1e-4, clip_norm=20.0, groups=((r"stem/conv/conv/kernel$", 5.0, 1.0),))
  c.schedule.update(name="cosine", peak=0.01, reference_batch=64, epochs=80.0, warmup_epochs=7.0)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
