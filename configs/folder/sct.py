"""SCT on a folder of your own long videos, learned from the sets of what happens in them.

vidx train --config=configs/folder/sct.py --config.data.root=... --workdir=...
The folder has features/NAME.npy (`vidx data features` writes them), labels/NAME.txt and classes.txt; see
vidx/data/datasets/segments.py. A fifth of the videos is for validation, unless lists say otherwise.
--config.system.background_weight=0.001 helps where one class, the first of classes.txt, takes most of the time.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="sct")
  c.task = dict(name="segmentation")
  c.data.update(dataset=dict(name="segments"), full_share=0.0, workers=0)
  c.optimizer.update(name="sgd", momentum=0.0, weight_decay=0.005, no_decay="", clip_norm=10.0)
  c.schedule.update(name="step", peak=0.01, epochs=120.0, milestones=(100.0,))
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
