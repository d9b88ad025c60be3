"""TSM ResNet-50, 8 frames, Something-Something V1: no flips, its classes know left from right.

vidx train --config=configs/ssv1/tsm_r50.py --config.data.root=... --config.train.init_from=... --workdir=...
Published: 45.6 top-1, from ImageNet weights; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsm_r50", num_classes=174, dropout=0.5)
  c.data.update(dataset=dict(name="ssv1"), frames=8, sampler="uniform", short_side=256, crop=224, flip=False)
  c.optimizer.update(name="sgd", weight_decay=5e-4, clip_norm=20.0)
  c.schedule.update(name="step", peak=0.01, reference_batch=64, epochs=50.0, milestones=(20.0, 40.0))
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
