"""Small R-FCN and STMN on Toybox `tracks`: a detector of frames, then a memory in the place of one of its convolutions.

The word behind the colon is the stage: rfcn, then stmn, which starts from it, and beside it stmn_no_match,
conv_gru_pretrain and conv_gru_fresh (table 3.2). `--runs` names the folder of all.

vidx data toybox --out=runs/toybox/tracks --labels=tracks size=96,96
vidx train --config=configs/toybox/stmn.py:rfcn --workdir=runs/tracks/rfcn
vidx train --config=configs/toybox/stmn.py:stmn --runs=runs/tracks --workdir=runs/tracks/stmn
vidx eval --workdir=runs/tracks/stmn
vidx eval --workdir=runs/tracks/rfcn --split=test --windows=center_overlap
vidx eval --workdir=runs/tracks/stmn --split=test --windows=center_overlap,size=5
Ours, seeds 0 to 2 (--config.seed), mAP of all frames of the 48 snippets of test, of which two in five are blurred or
hide something, by Seq-NMS: rfcn 52.7, 50.9, 51.6; stmn 54.9, 56.7, 59.2.
"""

from vidx.train import config

MEMORIES = {"stmn": {}, "stmn_no_match": dict(align=False), "conv_gru_pretrain": dict(cell="gru"),
            "conv_gru_fresh": dict(cell="gru")}
VARIANTS = ("rfcn", *MEMORIES)


def get_config(stage="rfcn"):
  c = config.base()
  frames = stage == "rfcn"
  c.system = dict(name="rfcn" if frames else "stmn", trunk="resnet_50", stages=(1, 1, 2, 2), width=16, inner=64,
                  features=64, frozen="", frozen_bn="", proposals="rpn",
                  rpn=dict(features=64, sizes=(20, 30, 44), ratios=(1,), count=48, before=200),
                  **MEMORIES.get(stage, {}))
  c.task = dict(name="detection", sample=32, anchor_sample=64, keep=20)
  c.data.update(root="runs/toybox/tracks", dataset=dict(name="imagenet_vid"), frames=1 if frames else 5,
                sampler="stride", stride=1, short_side=96, crop=96, sizes=((96, 96),), workers=0)
  c.optimizer.update(name="adamw", weight_decay=1e-4, clip_norm=10.0)
  c.schedule.update(name="cosine", peak=1e-3 if frames else 5e-4, warmup_epochs=1.0, epochs=60.0 if frames else 10.0)
  c.train.batch_size = 16 if frames else 4
  c.eval.update(batch_size=8, every_epochs=10.0)
  c.checkpoint.every_epochs = 5.0
  if not frames:
    c.train.init_from = (("", f"{config.RUNS}/rfcn"),)
  if stage == "conv_gru_fresh":
    c.train.init_exclude = ("params/heads/",)
  return c
