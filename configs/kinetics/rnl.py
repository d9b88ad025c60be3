"""TSM ResNet-50 with region-based non-local blocks in res3 and res4, 8 frames, Kinetics-400.

vidx train --config=configs/kinetics/rnl.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256
Published: 74.7 top-1, 75.0 with --config.system.se=True, with SE and 100 epochs 75.6 (10x3 views);
ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="rnl", num_classes=400, dropout=0.5)
  c.data.update(dataset=dict(name="kinetics"), frames=8, sampler="dense", short_side=256, crop=224)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=0.01, epochs=50.0)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
