"""Iterative soft boundaries, after Ding and Xu 2018, on Breakfast: the fast way to learn from transcripts.

vidx train --config=configs/breakfast/soft_boundaries.py --config.data.root=... --workdir=...
vidx eval --workdir=... --config.system.align=True aligns the transcripts of the test videos in place of labelling them.
What differs from the authors' is said in vidx/systems/baselines.py; a round of insertions comes every 5 epochs.
Published with TCFPN: MoF 38.4, IoD of the alignment 52.3; run again beside MuCon: 36.4.
Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="soft_boundaries", num_classes=48, insert_every=7300)
  c.task = dict(name="segmentation", background="SIL")
  c.data.update(dataset=dict(name="mucon", fold=1), feature_size=2048, full_share=0.0, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.0)
  c.schedule.update(name="cosine", peak=1e-3, epochs=30.0)
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
