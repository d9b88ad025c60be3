"""Frame classifier for configs/toybox/psn.py: four shapes in Toybox `cluttered`.

vidx data toybox --out=runs/toybox/cluttered --labels=cluttered
vidx train --config=configs/toybox/psn_classifier.py --workdir=runs/psn_classifier
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsn", trunk="resnet_18", stages=(1, 1, 1), width=24, stem="small", dropout=0.0)
  c.data.update(root="runs/toybox/cluttered", dataset=dict(name="folder"), frames=4, sampler="segments",
                short_side=64, crop=56, crop_mode="random", workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=4e-3, warmup_epochs=1.0, epochs=10.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
