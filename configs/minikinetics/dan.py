"""DAN on X3D-XS, 4 segments of 8 frames, Mini-Kinetics: what its ablations are made on.

The word behind the colon: x3d_xs, trained with its classes, at the rates of Kinetics-400, as the thesis names none for
Mini-Kinetics; or alone, the projection without them, 10 epochs of AdamW, at a rate of ours.

vidx train --config=configs/minikinetics/dan.py --config.data.root=... --workdir=...
Published top-1: 56.9 with T=8, D=1; alone the energy that is left is 0.27. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("x3d_xs", "alone")


def get_config(which="x3d_xs"):
  c = config.load_file("configs/kinetics/dan.py:x3d_m")
  c.system.update(trunk="x3d_xs", num_classes=200)
  c.data.dataset = dict(name="frame_list", file="mini_{split}_videofolder.txt", pattern="{:05d}.jpg")
  c.data.update(frames=4, jitter=(182, 228), short_side=182, crop=160)
  c.train.init_exclude = ()
  if which == "alone":
    c.task.mode = "separate"
    c.optimizer.update(name="adamw", weight_decay=0.01, groups=(), frozen=("^trunk/",))
    c.schedule.update(peak=1e-3, reference_batch=256, epochs=10.0, warmup_epochs=0.0)
  return c
