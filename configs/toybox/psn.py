"""Small parallel sampling network on Toybox `needle`: a run of frames tells the class, single ones mislead.

The heavy classifier comes from configs/toybox/psn_classifier.py and stays as it is.

vidx data toybox --out=runs/toybox/needle --labels=needle frames=25
vidx train --config=configs/toybox/psn.py --workdir=runs/psn
vidx eval --workdir=runs/psn --config.system.select=uniform
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="psn", trunk="resnet_18", stages=(1, 1, 1), width=24, stem="small", dropout=0.0, keep=6,
                  sampler_size=28, sampler_fields=dict(stages=(2, 2), widths=(12, 24, 48, 96)),
                  context_fields=dict(width=64))
  c.data.update(root="runs/toybox/needle", dataset=dict(name="folder"), frames=25, sampler="segments",
                short_side=64, crop=56, crop_mode="random", workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=1.0, epochs=10.0)
  c.train.update(batch_size=32, init_from=(("/classifier/", "runs/psn_classifier"),))
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
