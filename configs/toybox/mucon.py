"""Small MuCon on Toybox `kitchen`: labels of frames, learned from the transcripts of the videos.

vidx data toybox --out=runs/toybox/kitchen --labels=kitchen
vidx train --config=configs/toybox/mucon.py --workdir=runs/mucon
--config.data.full_share=1.0 learns from the labels of frames, too.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="mucon", width=64, hidden=64, groups=16, backbone=tuple(2**i for i in range(8)),
                  pools=(1, 2, 4), points=16, corner="centre", max_segments=9)
  c.task = dict(name="segmentation", background="idle")
  c.data.update(root="runs/toybox/kitchen", dataset=dict(name="nn_viterbi"), full_share=0.0, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.005, clip_norm=10.0)
  c.schedule.update(name="cosine", peak=3e-3, warmup_epochs=2.0, epochs=60.0)
  c.train.batch_size = 8
  c.eval.update(batch_size=8, every_epochs=20.0)
  c.checkpoint.every_epochs = 20.0
  return c
