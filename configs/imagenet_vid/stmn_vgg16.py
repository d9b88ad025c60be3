"""Fast R-CNN (VGG-16) and STMN in the place of its last convolution on ImageNet VID: the ablation of table 3.2.

The word behind the colon: fast_rcnn, the detector of frames, on DET; stmn, no_match (without MatchTrans),
conv_gru_pretrain and conv_gru_fresh (a new pair of dense layers), which start from it. `--runs` names the
folder of all.

vidx train --config=configs/imagenet_vid/stmn_vgg16.py:fast_rcnn --config.data.root=DET --workdir=RUNS/fast_rcnn
vidx train --config=configs/imagenet_vid/stmn_vgg16.py:stmn --config.data.root=VID --runs=RUNS --workdir=RUNS/stmn
vidx eval --workdir=RUNS/stmn --windows=center_overlap
Published mAP on test: stmn 50.7, no_match 49.0, conv_gru_pretrain 48.0, conv_gru_fresh 44.8. Ours: not yet measured.
"""

from vidx.train import config

MEMORIES = {"stmn": {}, "no_match": dict(align=False), "conv_gru_pretrain": dict(cell="gru"),
            "conv_gru_fresh": dict(cell="gru")}
VARIANTS = ("fast_rcnn", *MEMORIES)
SIZES = ((352, 608), (608, 352), (464, 464), (368, 496), (496, 368), (608, 608))


def get_config(stage="fast_rcnn"):
  c = config.base()
  still = stage == "fast_rcnn"
  c.system = dict(name="fast_rcnn_vgg16" if still else "stmn_vgg16", proposals="rpn", **MEMORIES.get(stage, {}))
  c.task = dict(name="detection")
  c.data.update(dataset=dict(name="imagenet_det") if still else dict(name="imagenet_vid", least_frames=61),
                frames=1 if still else 7, sampler="stride", stride=10, short_side=360, long_side=600, sizes=SIZES,
                flip=False)
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=False, weight_decay=5e-4, clip_norm=35.0)
  c.schedule.update(name="step", peak=1e-3, epochs=10.0, milestones=(7.0,), warmup_epochs=0.1)
  c.train.batch_size = 4 if still else 2
  if not still:
    c.seed = 800
    c.schedule.update(epochs=62.0, milestones=(41.0,))
    c.train.init_from = (("", f"{config.RUNS}/fast_rcnn"),)
  if stage == "conv_gru_fresh":
    c.train.init_exclude = ("params/heads/",)
  c.eval.update(batch_size=2, every_epochs=2.0)
  c.checkpoint.update(every_steps=1000)
  return c
