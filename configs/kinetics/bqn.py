"""Busy-Quiet Net on TSM ResNet-50, 16 segments of 3 frames, Kinetics-400.

vidx train --config=configs/kinetics/bqn.py --config.data.root=... --config.train.init_from=... --workdir=...
vidx eval --workdir=... --views=10x1
Published: 76.8 top-1 (10 views), from ImageNet weights in both pathways,
77.1 on X3D-M (configs/kinetics/bqn.py:bqn_x3d_m, 10x3 views, from scratch); ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("bqn", "bqn_x3d_m")


def get_config(name="bqn"):
  c = config.base()
  c.system = dict(name=name, num_classes=400, dropout=0.5)
  c.data.update(dataset=dict(name="kinetics"), frames=16, consecutive=3, sampler="dense", short_side=256, crop=256)
  c.optimizer.update(name="sgd", weight_decay=2e-4, groups=(
      (r"head/fc/kernel$", 5.0, 5.0), (r"head/fc/bias$", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=0.08, reference_batch=512, epochs=100.0, warmup_epochs=7.0)
  c.train.batch_size = 512
  if name == "bqn_x3d_m":
    c.data.update(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
    c.optimizer.weight_decay = 5e-5
    c.schedule.update(peak=0.4, reference_batch=256, epochs=256.0)
    c.train.batch_size = 256
  c.train.init_exclude = ("head",)
  return c
