"""A small TSM from scratch on what becomes of a folder of videos: frames, differences, band-passed motion, ...

vidx train --config=configs/folder/represented_small.py --config.data.root=FOLDER --workdir=runs/mine
vidx train --config=configs/folder/represented_small.py:band_pass --config.data.root=FOLDER --workdir=runs/motion

The word after the colon is rgb, rgb_difference, dynamic_image, squeezed, appearance,
stacked or band_pass. FOLDER is as for configs/folder/tsm.py; the trunk is that of
configs/folder/tsm_small.py, so that runs compare inputs and nothing else.
"""

from vidx.systems.represented import REPRESENTATIONS
from vidx.train import config

VARIANTS = tuple(REPRESENTATIONS)


def get_config(representation="rgb"):
  c = config.base()
  c.system = dict(name="represented", representation=representation, trunk="tsm", stages=(1, 1, 1), block="basic",
                  width=24, dropout=0.5)
  _, consecutive = REPRESENTATIONS[representation]
  c.data.update(frames=8, consecutive=consecutive, sampler="uniform", short_side=72, crop=64, workers=0,
                colour_jitter=0.2)
  c.optimizer.update(name="adamw", weight_decay=0.1, ema=0.98)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=2.0, epochs=60.0)
  c.train.batch_size = 16
  if representation == "appearance":
    c.task = dict(name="joint", mode="mgda")
  c.eval.every_epochs = 5.0
  c.checkpoint.every_epochs = 5.0
  return c
