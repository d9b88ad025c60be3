"""A small STC-Net on Toybox that starts from a network of images, in stages, and the same from scratch.

vidx data toybox --out=runs/toybox/appearance --labels=appearance frames=16
vidx data toybox --out=runs/toybox/motion --labels=motion frames=16
vidx train --config=configs/toybox/stc.py:teacher --workdir=runs/stc_teacher
vidx train --config=configs/toybox/stc.py:match --runs=runs --workdir=runs/stc_match
vidx train --config=configs/toybox/stc.py:tuned --runs=runs --workdir=runs/stc_tuned
vidx train --config=configs/toybox/stc.py:scratch --workdir=runs/stc_scratch

The teacher learns colours and shapes from single frames; `match` does not look at labels; `tuned` learns motions.
"""

from vidx.train import config

NET = dict(trunk="resnet3d_18", stages=(1, 1, 1), width=16, stem="small", reduction=4, frames=8)
IMAGES = dict(stages=(1, 1, 1), width=16, stem="small")

VARIANTS = ("scratch", "teacher", "match", "tuned")


def get_config(stage="scratch"):
  labels, frames = {"teacher": ("appearance", 1), "match": ("motion", 8), "tuned": ("motion", 8),
                    "scratch": ("motion", 8)}[stage]
  c = config.base()
  c.data.update(root=f"runs/toybox/{labels}", dataset=dict(name="folder"), frames=frames, sampler="stride", stride=2,
                short_side=64, crop=56, crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=4e-3, warmup_epochs=1.0, epochs=10.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  if stage == "teacher":
    c.system = dict(name="resnet_18", **IMAGES)
  elif stage == "match":
    c.system = dict(name="transfer", teacher="resnet_18", teacher_fields=IMAGES, student="stc", student_fields=NET,
                    frames=8, width=64, hidden=(64, 32))
    c.task = dict(name="matching")
    c.train.init_from = (("/teacher/", f"{config.RUNS}/stc_teacher"),)
  else:
    c.system = dict(name="stc", **NET)
    if stage == "tuned":
      c.train.update(init_from=(("", f"{config.RUNS}/stc_match", "student"),), init_exclude=("head",))
  return c
