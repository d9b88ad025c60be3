"""Small Busy-Quiet Net on Toybox `motion`: eight classes that need motion or order.

vidx data toybox --out=runs/toybox/motion
vidx train --config=configs/toybox/bqn.py --workdir=runs/bqn
Ours: 50.6 % after 3.07 epochs, in the time of the 11 epochs in which tsm.py reaches 97.5 %; the whole not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="bqn", trunk="tsm", stages=(1, 1, 1), block="basic", width=24, quiet_size=32,
                  quiet_input="mean", dropout=0.0)
  c.data.update(root="runs/toybox/motion", dataset=dict(name="folder"), frames=8, consecutive=3, sampler="uniform",
                short_side=64, crop=56, crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=4e-3, warmup_epochs=1.0, epochs=11.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=3.0)
  c.checkpoint.every_epochs = 3.0
  return c
