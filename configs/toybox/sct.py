"""Small SCT on Toybox `kitchen`: labels of frames, learned from the sets of the actions of a video.

vidx data toybox --out=runs/toybox/kitchen --labels=kitchen
vidx train --config=configs/toybox/sct.py --workdir=runs/sct
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="sct", width=64, groups=16, dilations=tuple(2**i for i in range(8)), pools=(1, 2, 4),
                  points=8, corner="centre")
  c.task = dict(name="segmentation", background="idle")
  c.data.update(root="runs/toybox/kitchen", dataset=dict(name="nn_viterbi"), full_share=0.0, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.005, clip_norm=10.0)
  c.schedule.update(name="cosine", peak=3e-3, warmup_epochs=2.0, epochs=60.0)
  c.train.batch_size = 8
  c.eval.update(batch_size=8, every_epochs=20.0)
  c.checkpoint.every_epochs = 20.0
  return c
