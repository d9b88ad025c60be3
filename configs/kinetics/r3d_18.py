"""r3d_18, 16 frames of 112 x 112, Kinetics-400, from scratch.

vidx train --config=configs/kinetics/r3d_18.py --config.data.root=... --workdir=...
Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="r3d_18", num_classes=400)
  c.data.update(dataset=dict(name="kinetics"), frames=16, sampler="stride", stride=2, short_side=128, crop=112,
                jitter=(128, 160), crop_mode="random", mean=(0.43216, 0.394666, 0.37645),
                std=(0.22803, 0.22145, 0.216989))
  c.optimizer.update(name="sgd", weight_decay=1e-4)
  c.schedule.update(name="step", peak=0.01, reference_batch=32, epochs=45.0, warmup_epochs=10.0,
                    milestones=(20.0, 30.0, 40.0))
  c.train.batch_size = 256
  return c
