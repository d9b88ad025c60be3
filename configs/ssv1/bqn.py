"""Busy-Quiet Net on TSM ResNet-50, 8 segments of 3 frames, Something-Something V1: no flips.

vidx train --config=configs/ssv1/bqn.py --config.data.root=... --config.train.init_from=... --workdir=...
vidx eval --workdir=... --views=2x3
Published: 51.7 top-1 (1x1 views), 53.3 (2x3), from ImageNet weights in both pathways,
53.7 on X3D-M (configs/ssv1/bqn.py:bqn_x3d_m, 16 segments, from a Kinetics run; bqn_x3d_m_scratch, without one, 50.6);
ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("bqn", "bqn_x3d_m", "bqn_x3d_m_scratch")


def get_config(name="bqn"):
  c = config.base()
  c.system = dict(name=name.removesuffix("_scratch"), num_classes=174, dropout=0.8)
  c.data.update(dataset=dict(name="ssv1"), frames=8, consecutive=3, sampler="uniform", short_side=256, crop=256,
                flip=False)
  c.optimizer.update(name="sgd", weight_decay=8e-4, groups=(
      (r"head/fc/kernel$", 5.0, 5.0), (r"head/fc/bias$", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=0.12, reference_batch=256, epochs=50.0, warmup_epochs=7.0)
  c.train.batch_size = 256
  if c.system.name == "bqn_x3d_m":
    c.data.update(frames=16, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
    c.optimizer.weight_decay = 4e-4
    c.schedule.epochs = 60.0
  if name.endswith("_scratch"):
    c.system.dropout = 0.5
    c.optimizer.weight_decay = 5e-5
    c.schedule.update(peak=0.2, epochs=100.0)
  c.train.init_exclude = ("head",)
  return c
