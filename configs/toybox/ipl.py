"""Small IPL on Toybox `hands`: verbs and nouns from the clip alone.

vidx data toybox --out=runs/toybox/hands --labels=hands
vidx train --config=configs/toybox/ipl.py --workdir=runs/ipl
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ipl", trunk="resnet3d_18", stages=(1, 1, 1), width=24, stem="small", zero_init=False, keep=3)
  c.task = dict(name="verb_noun")
  c.data.update(root="runs/toybox/hands", dataset=dict(name="epic100"), frames=8, stride=2, sampler="centre",
                whole=(64, 64), crop_mode="whole", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=1.0, epochs=20.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
