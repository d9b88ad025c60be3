"""A small AVSlowFast on one's own videos with sound, or its halves: sight, or sound alone, of videos or of files of it.

vidx train --config=configs/folder/avslowfast_small.py --config.data.root=... --workdir=...
vidx train --config=configs/folder/avslowfast_small.py:sound --config.data.root=... --config.data.audio.seconds=1.0 ...

The word behind the colon is both, sight or sound.
The Free Spoken Digit Dataset, by its official split (300 of 3,000 recordings): sound 98.7 top-1 after 5 epochs on one
core, with data.audio.seconds=0.8, rows=48 and mask_rows=6, system.audio={"strides": (2, 2, 2, 2)},
schedule.epochs=5 and warmup_epochs=1, train.batch_size=32; one run.
"""

from vidx.train import config

VARIANTS = ("both", "sight", "sound")


def get_config(streams="both"):
  c = config.base()
  c.system = dict(name="avslowfast_r50_4x16", stages=(1, 1, 1, 1), width=32, alpha=4, streams=streams, drop=0.5,
                  dropout=0.3, zero_init=False, slow_temporal=(1, 1, 3, 3), fast_temporal=(3, 3, 3, 3))
  c.data.update(frames=16, sampler="stride", stride=2, short_side=72, crop=64, crop_mode="random", mean=(0.45,) * 3,
                std=(0.225,) * 3)
  c.data.audio.update(rows=128, mels=40, mask_rows=16, mask_mels=6)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=2e-3, epochs=40.0, warmup_epochs=2.0)
  c.train.batch_size = 16
  c.eval.update(every_epochs=10.0)
  if streams == "sound":
    c.data.audio.seconds = 2.0
  return c
