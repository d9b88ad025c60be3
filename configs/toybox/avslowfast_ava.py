"""Small AVSlowFast on Toybox acts: what each of several people does, one action of which only the sound tells.

vidx data toybox --out=runs/toybox/acts --labels=acts
vidx train --config=configs/toybox/avslowfast_ava.py --workdir=runs/acts
vidx train --config=configs/toybox/avslowfast_ava.py:sight --workdir=runs/acts_sight
vidx predict --workdir=runs/acts --boxes=runs/toybox/acts/annotations/ava_val_predicted_boxes.csv --show=people \
  runs/toybox/acts/videos/toyval*.mp4
"""

from vidx.train import config

VARIANTS = ("both", "sight")


def get_config(variant="both"):
  c = config.base()
  c.system = dict(name="avslowfast_ava" if variant == "both" else "slowfast_ava", trunk="slowfast_r50_4x16",
                  stages=(1, 1, 1), width=16, strides=(1, 2, 1), dilations=(1, 1, 2), slow_temporal=(1, 1, 3),
                  fast_temporal=(3, 3, 3), alpha=4, zero_init=False, drop=0.2, dropout=0.0)
  if variant == "both":
    c.system.update(fs_stages=(0, 0, 1), afs_stages=(0, 0, 1))
  else:
    c.system.fs_stages = (1, 1, 1)
  c.task = dict(name="box_actions")
  c.data.dataset = dict(name="ava")
  c.data.update(root="runs/toybox/acts", frames=8, sampler="centre", stride=2, short_side=64, crop=64,
                crop_mode="random", flip=False, whole=(64, 64), mean=(0.45,) * 3, std=(0.225,) * 3, workers=0)
  c.data.boxes.update(frames="middle", rois=4, train_rois="truth")
  c.data.audio.update(rows=64, mels=40)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=1.0, epochs=10.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
