"""MS-TCN, four stages, on Breakfast with all frame labels; two-stream I3D features.

vidx train --config=configs/breakfast/ms_tcn.py --config.data.root=... --workdir=...
Split 1; --config.data.dataset.fold=2 to 4 are the others, and the published figures are means of all four.
Published: F1 52.6, 48.1, 37.9, edit 61.7, accuracy 66.3; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ms_tcn", num_classes=48)
  c.task = dict(name="segmentation", background="SIL")
  c.data.update(dataset=dict(name="ms_tcn", fold=1), feature_size=2048, full_share=1.0, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.0)
  c.schedule.update(name="constant", peak=5e-4, epochs=50.0)
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
