"""R-FCN (ResNet-101) on ImageNet DET, and STMN on ImageNet VID, which starts from it: the rows of table 3.1.

The word behind the colon is the stage or what differs: rfcn, the detector of frames on the 30 classes of DET; stmn with
our choices; thesis (7 frames, dot products, statistics of all entries); released (6 frames, cosine, a gain of 20,
batches of two images of DET between those of two videos, where the authors had four; evaluated with link=dt_link).
rfcn_vid goes on with the detector on frames of VID. `--runs` names the folder of all. DET lies in the folder of VID,
as both are published, or at --config.data.dataset.det=DET, which mixes it into the others, too. Proposals are those of
a network on conv4; for those of files add --config.system.proposals=file --config.data.boxes.rois=300
--config.data.dataset.proposals=FOLDER.

vidx train --config=configs/imagenet_vid/stmn.py:rfcn --config.data.root=DET --workdir=RUNS/rfcn
vidx train --config=configs/imagenet_vid/stmn.py:stmn --config.data.root=VID --runs=RUNS --workdir=RUNS/stmn
vidx eval --workdir=RUNS/stmn --windows=center_overlap,size=11,still=RUNS/rfcn
vidx eval --workdir=RUNS/stmn --windows=center_overlap,size=11,still=RUNS/rfcn,scales=270,360,540
vidx eval --workdir=RUNS/released --windows=center_overlap,size=11,still=RUNS/rfcn,link=dt_link
Weights of ImageNet for the first stage: `vidx convert`, and --config.train.init_from=FOLDER.
Published mAP on validation: 80.5, R-FCN 73.4; windows of 3, 11 and 15 frames against 7: -1.9, +0.7, +1.0. Ours: not yet
measured.
"""

from vidx.train import config

MEMORIES = {"stmn": {}, "thesis": dict(affinity="dot", stats="all"), "released": dict(input_gain=20.0)}
VARIANTS = ("rfcn", "rfcn_vid", *MEMORIES)
SIZES = ((352, 608), (608, 352), (464, 464), (368, 496), (496, 368), (608, 608))  # 16:9, 9:16, square, 4:3, 3:4, any


def get_config(stage="rfcn"):
  c = config.base()
  still = stage == "rfcn"
  frames = 1 if stage.startswith("rfcn") else 6 if stage == "released" else 7
  c.system = dict(name="rfcn" if frames == 1 else "stmn", proposals="rpn", **MEMORIES.get(stage, {}))
  c.task = dict(name="detection")
  least = 10 * (frames - 1) + 1
  c.data.update(dataset=dict(name="imagenet_det") if still else dict(name="imagenet_vid", least_frames=least),
                frames=frames, sampler="stride", stride=10, short_side=360, long_side=600, sizes=SIZES)
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=False, weight_decay=0.0, clip_norm=35.0)
  c.schedule.update(name="step", peak=1e-3, epochs=10.0, milestones=(7.0,), warmup_epochs=0.1)
  c.train.batch_size = 4 if still else 2
  if stage == "released":
    c.data.dataset.update(det=".", counts=(2, 2))
  if not still:
    c.seed = 800
    c.schedule.update(epochs=62.0, milestones=(41.0,))  # 120,000 steps of two videos
    c.train.init_from = (("", f"{config.RUNS}/rfcn"),)
  c.eval.update(batch_size=2, every_epochs=2.0)
  c.checkpoint.update(every_steps=1000)
  return c
