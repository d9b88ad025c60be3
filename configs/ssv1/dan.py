"""DAN on TSM ResNet-50, 8 segments of 4 frames, Something-Something V1: no flips, its classes know left from right.

vidx train --config=configs/ssv1/dan.py --config.data.root=... --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=2x3 --config.data.test_crop=256
Published: 50.1 top-1; on X3D from a Kinetics run 43.1 (configs/ssv1/dan.py:x3d_xs, 4 segments of 8 frames, with crops
of 160 in the test, too, so without data.test_crop) and 53.7 (configs/ssv1/dan.py:x3d_m, 16 segments of 3 frames);
ours: not yet measured.
"""

from vidx.train import config

SEGMENTS = {"x3d_xs": (4, 8), "x3d_m": (16, 3)}
VARIANTS = ("tsm_r50", *SEGMENTS)


def get_config(trunk="tsm_r50"):
  c = config.base()
  c.system = dict(name="dan", trunk=trunk, num_classes=174, consecutive=4, dropout=0.8)
  c.task = dict(name="joint", mode="mgda")
  c.data.update(dataset=dict(name="ssv1"), frames=8, consecutive=4, sampler="uniform",
                jitter=(256, 320), short_side=256, crop=224, crop_mode="random", flip=False)
  c.optimizer.update(name="sgd", weight_decay=8e-4, nesterov=False, no_decay=r"(bias|scale)$|^projection/basis/",
                     groups=(("head/.*kernel", 5.0, 5.0), ("head/.*bias", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=0.12, reference_batch=256, epochs=50.0, warmup_epochs=7.0)
  c.train.batch_size = 256
  if trunk in SEGMENTS:
    frames, c.system.consecutive = SEGMENTS[trunk]
    c.data.update(frames=frames, consecutive=c.system.consecutive, mean=(0.45,) * 3, std=(0.225,) * 3)
    c.optimizer.weight_decay = 4e-4
  if trunk == "x3d_xs":
    c.data.update(jitter=(182, 228), short_side=182, crop=160)
  c.train.init_exclude = ("head",)
  return c
