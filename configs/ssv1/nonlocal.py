"""TSM ResNet-50 with non-local blocks in res3 and res4, 8 frames, Something-Something V1: no flips.

vidx train --config=configs/ssv1/nonlocal.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=2x3 --config.data.test_crop=256
Published: 48.3 top-1; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="nonlocal", num_classes=174, dropout=0.8)
  c.data.update(dataset=dict(name="ssv1"), frames=8, sampler="uniform", short_side=256, crop=224, flip=False)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=8e-4)
  c.schedule.update(name="cosine", peak=0.02, epochs=50.0)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
