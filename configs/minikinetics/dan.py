"""DAN on X3D-XS, 4 segments of 8 frames, Mini-Kinetics: what its ablations are made on.

The word behind the colon: x3d_xs, trained with its classes, at the rates of Kinetics-400, as the thesis names none for
Mini-Kinetics; or alone, the projection without them, 10 epochs of AdamW, at a rate of ours.

vidx train --config=configs/minikinetics/dan.py --config.data.root=... --workdir=...
Published top-1: 56.9 with T=8, D=1; alone the energy that is left is 0.27. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("x3d_xs", "alone")


def get_config(which="x3d_xs"):
  c = config.base()
  c.system = dict(name="dan", trunk="x3d_xs", num_classes=200, consecutive=8, dropout=0.5)
  c.task = dict(name="joint", mode="mgda")
  c.data.update(dataset=dict(name="frame_list", file="mini_{split}_videofolder.txt", pattern="{:05d}.jpg"),
                frames=4, consecutive=8, sampler="dense", jitter=(182, 228), short_side=182, crop=160,
                crop_mode="random", mean=(0.45,) * 3, std=(0.225,) * 3)
  c.optimizer.update(name="sgd", weight_decay=5e-5, nesterov=False, no_decay=r"(bias|scale)$|^projection/basis/",
                     groups=(("head/.*kernel", 5.0, 5.0), ("head/.*bias", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=0.4, reference_batch=256, epochs=256.0, warmup_epochs=7.0)
  c.train.batch_size = 256
  if which == "alone":
    c.task.mode = "separate"
    c.optimizer.update(name="adamw", weight_decay=0.01, groups=(), frozen=("^trunk/",))
    c.schedule.update(peak=1e-3, reference_batch=256, epochs=10.0, warmup_epochs=0.0)
  return c
