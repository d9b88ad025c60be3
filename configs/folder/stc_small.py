"""A small STC-Net on any folder of videos, for few videos and a CPU: from scratch, or after matching without labels.

vidx train --config=configs/folder/stc_small.py --config.data.root=FOLDER --workdir=runs/mine
vidx train --config=configs/folder/stc_small.py:match --config.data.root=FOLDER --runs=runs --workdir=runs/match
vidx train --config=configs/folder/stc_small.py:tuned --config.data.root=FOLDER --runs=runs --workdir=runs/mine

FOLDER is as for configs/folder/tsm.py. The teacher of `match` is a run of
configs/folder/stc_small.py:teacher, which learns single frames: {runs}/teacher.
"""

from vidx.train import config

NET = dict(trunk="resnet3d_18", stages=(1, 1, 1), width=24, stem="small", reduction=4, frames=8)
IMAGES = dict(stages=(1, 1, 1), width=24, stem="small")

VARIANTS = ("scratch", "teacher", "match", "tuned")


def get_config(stage="scratch"):
  frames = {"teacher": 1, "match": 8, "tuned": 8, "scratch": 8}[stage]
  c = config.base()
  c.data.update(frames=frames, sampler="stride", stride=2, short_side=72, crop=64, crop_mode="corners", workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.1)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=2.0, epochs=30.0)
  c.train.batch_size = 16
  c.eval.every_epochs = 5.0
  c.checkpoint.every_epochs = 5.0
  if stage == "teacher":
    c.system = dict(name="resnet_18", **IMAGES)
  elif stage == "match":
    c.system = dict(name="transfer", teacher="resnet_18", teacher_fields=IMAGES, student="stc", student_fields=NET,
                    frames=8, width=64, hidden=(64, 32))
    c.task = dict(name="matching")
    c.data.dataset = dict(name="videos")
    c.train.init_from = (("/teacher/", f"{config.RUNS}/teacher"),)
  else:
    c.system = dict(name="stc", **NET, dropout=0.5)
    if stage == "tuned":
      c.train.update(init_from=(("", f"{config.RUNS}/match", "student"),), init_exclude=("head",))
  return c
