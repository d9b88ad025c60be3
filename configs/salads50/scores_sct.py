"""SCT on published frame scores of 50Salads, learned from sets of actions.

vidx train --config=configs/salads50/scores_sct.py --config.data.root=... --workdir=...
The folder that `vidx data scores` writes from the per-frame scores of 18 classes that Lea et al. 2017 released.
Split 1 of five (--config.data.dataset.fold=N). Scores come from classifiers that saw other videos than those they
score, so a fold is not independent of the others: for comparison of methods.
Ours: configs/salads50/README.md.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="sct", num_classes=18, dilations=(1, 2, 4, 8, 16), pools=(1, 2), tap=3, width=48,
                  groups=16, temperature=1.0, points=10, corner="centre", background_weight=0.001)
  c.task = dict(name="segmentation", ignore="background", background="background", average="video")
  c.data.update(dataset=dict(name="ms_tcn", fold=1), feature_size=18, full_share=0.0, workers=0,
                bucket_multiple=192, bucket_growth=1.0)
  c.optimizer.update(name="adamw", weight_decay=1e-4, clip_norm=10.0)
  c.schedule.update(name="cosine", peak=5e-3, epochs=60.0)
  c.train.batch_size = 4
  c.eval.update(batch_size=10, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
