"""R(2+1)D-18, 16 frames of 112 x 112, on any folder of videos.

vidx train --config=configs/folder/r2plus1d_18.py --config.data.root=FOLDER --workdir=runs/mine
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="r2plus1d_18")
  c.data.update(frames=16, sampler="stride", stride=2, short_side=128, crop=112, jitter=(128, 160),
                crop_mode="random", mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
  c.schedule.update(name="cosine", peak=0.01, reference_batch=32, warmup_epochs=5.0, epochs=45.0)
  c.train.batch_size = 32
  return c
