"""The region-based non-local network with the public code's recipe, 8 frames, Kinetics-400.

vidx train --config=configs/kinetics/rnl_public.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
Next to configs/kinetics/rnl.py: one channel gate (GC, C/2) in front of the first block, a
warm-up, stronger decay, clipped gradients, and 4 micro-batches of 16. Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="rnl", num_classes=400, dropout=0.5, se="gc")
  c.data.update(dataset=dict(name="kinetics"), frames=8, sampler="dense", short_side=256, crop=224)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=2e-4, clip_norm=20.0, accumulate=4)
  c.schedule.update(name="cosine", peak=0.02, epochs=100.0, warmup_epochs=5.0, warmup_from=0.1)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
