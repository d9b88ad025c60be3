"""TSM ResNet-50, 8 frames, Kinetics-400, with the public recipe's numbers.

vidx train --config=configs/kinetics/tsm_r50.py --config.data.root=... --workdir=...
vidx eval --workdir=... --views=10x3
Published: 74.1 top-1 (dense, 10x3 views); ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsm_r50", num_classes=400, dropout=0.5)
  c.data.update(dataset=dict(name="kinetics"), frames=8, sampler="dense", short_side=256, crop=224)
  c.optimizer.update(name="sgd", weight_decay=1e-4, clip_norm=20.0, groups=(("head.*bias", 2.0, 0.0),))
  c.schedule.update(name="step", peak=0.02, reference_batch=128, epochs=50.0, milestones=(20.0, 40.0))
  c.train.batch_size = 128
  return c
