"""MS-TCN, four stages, on 50Salads with all frame labels; two-stream I3D features.

vidx train --config=configs/salads50/ms_tcn.py --config.data.root=... --workdir=...
Split 1 of five (--config.data.dataset.fold=N). All frames are used, 30 per second; published with 15:
F1 76.3, 74.0, 64.5, edit 67.9, accuracy 80.7; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ms_tcn", num_classes=19)
  c.task = dict(name="segmentation", background=("action_start", "action_end"))
  c.data.update(dataset=dict(name="ms_tcn", fold=1), feature_size=2048, full_share=1.0, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.0)
  c.schedule.update(name="constant", peak=5e-4, epochs=50.0)
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
