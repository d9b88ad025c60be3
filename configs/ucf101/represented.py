"""TSM ResNet-50 on what becomes of 8 segments: frames, differences, flow, dynamic images, appearance, motion; UCF101.

vidx train --config=configs/ucf101/represented.py:band_pass --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
Split 1; --config.data.dataset.fold=2 chooses another. The word after the colon is one of
vidx.systems.represented.REPRESENTATIONS. All see 48 frames, 6 per segment, but for rgb, which looks at one of them,
`stacked`, which takes the 5 images of optical flow between them, with --config.data.flow=..., and band_pass, which
takes 3. `appearance` is a DAN: its projection is trained jointly with the classes.
Published: rgb 87.1, rgb_difference 87.0, stacked flow 88.5, dynamic_image 86.2, squeezed 88.5, appearance 89.7,
band_pass 90.3; ours: not yet measured.
"""

from vidx.systems.represented import REPRESENTATIONS
from vidx.train import config

VARIANTS = tuple(REPRESENTATIONS)


def get_config(representation="rgb"):
  c = config.base()
  _, consecutive = REPRESENTATIONS[representation]
  c.system = dict(name="represented", representation=representation, num_classes=101, dropout=0.5)
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=8, consecutive=consecutive, sampler="uniform",
                short_side=256, crop=224)
  c.optimizer.update(name="sgd", weight_decay=1e-4, groups=(
      (r"head/fc/kernel$", 5.0, 5.0), (r"head/fc/bias$", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=0.01, reference_batch=64, epochs=80.0, warmup_epochs=7.0)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  if representation == "appearance":
    c.task = dict(name="joint", mode="mgda")
    c.optimizer.no_decay = r"(bias|scale)$|^projection/basis/"
  return c
