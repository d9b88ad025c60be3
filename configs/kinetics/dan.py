"""DAN on TSM ResNet-50, 16 segments of 8 frames, Kinetics-400.

vidx train --config=configs/kinetics/dan.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256
Published: 75.9 top-1,
77.3 top-1 on X3D-M (configs/kinetics/dan.py:x3d_m, from scratch); ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("tsm_r50", "x3d_m")


def get_config(trunk="tsm_r50"):
  c = config.base()
  c.system = dict(name="dan", trunk=trunk, num_classes=400, consecutive=8, dropout=0.5)
  c.task = dict(name="joint", mode="mgda")
  c.data.update(dataset=dict(name="kinetics"), frames=16, consecutive=8, sampler="dense",
                jitter=(256, 320), short_side=256, crop=224, crop_mode="random")
  c.optimizer.update(name="sgd", weight_decay=2e-4, nesterov=False, no_decay=r"(bias|scale)$|^projection/basis/",
                     groups=(("head/.*kernel", 5.0, 5.0), ("head/.*bias", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=0.08, reference_batch=512, epochs=100.0, warmup_epochs=7.0)
  c.train.batch_size = 512
  if trunk == "x3d_m":
    c.data.update(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
    c.optimizer.weight_decay = 5e-5
    c.schedule.update(peak=0.4, reference_batch=256, epochs=256.0)
    c.train.batch_size = 256
  c.train.init_exclude = ("head",)
  return c
