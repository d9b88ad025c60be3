"""TSN ResNet-50, 8 segments, Kinetics-400: the frame-wise baseline of TSM, same recipe.

vidx train --config=configs/kinetics/tsn_r50.py --config.data.root=... --workdir=...
Published: 70.6 top-1; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsn", trunk="resnet_50", num_classes=400, dropout=0.5)
  c.data.update(dataset=dict(name="kinetics"), frames=8, sampler="uniform", short_side=256, crop=224)
  c.optimizer.update(name="sgd", weight_decay=1e-4, clip_norm=20.0)
  c.schedule.update(name="step", peak=0.02, reference_batch=128, epochs=50.0, milestones=(20.0, 40.0))
  c.train.batch_size = 128
  return c
