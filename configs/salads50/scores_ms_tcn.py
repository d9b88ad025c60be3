"""MS-TCN, three small stages, on published frame scores of 50Salads, with all frame labels.

vidx train --config=configs/salads50/scores_ms_tcn.py --config.data.root=... --workdir=...
The folder that `vidx data scores` writes from the per-frame scores of 18 classes that Lea et al. 2017 released.
Split 1 of five (--config.data.dataset.fold=N). Scores come from classifiers that saw other videos than those they
score, so a fold is not independent of the others: for comparison of methods.
Ours: configs/salads50/README.md.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ms_tcn", num_classes=18, stages=3, layers=8, width=48)
  c.task = dict(name="segmentation", ignore="background", background="background", average="video")
  c.data.update(dataset=dict(name="ms_tcn", fold=1), feature_size=18, full_share=1.0, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.0)
  c.schedule.update(name="cosine", peak=2e-3, epochs=30.0)
  c.train.batch_size = 1
  c.eval.update(batch_size=10, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
