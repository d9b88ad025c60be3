"""MuCon on published frame scores of 50Salads, learned from transcripts.

vidx train --config=configs/salads50/scores_mucon.py --config.data.root=... --workdir=...
The folder that `vidx data scores` writes from the per-frame scores of 18 classes that Lea et al. 2017 released.
Split 1 of five (--config.data.dataset.fold=N). Scores come from classifiers that saw other videos than those they
score, so a fold is not independent of the others: for comparison of methods.
Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="mucon", num_classes=18, pools=(1, 2), max_segments=48)
  c.task = dict(name="segmentation", ignore="background", background="background", average="video")
  c.data.update(dataset=dict(name="ms_tcn", fold=1), feature_size=18, full_share=0.0, workers=0)
  c.optimizer.update(name="sgd", momentum=0.0, weight_decay=0.005, no_decay="", clip_norm=100.0,
                     clip_groups=(("^(trunk|encoder|to_state|to_cell)/", 100.0),))
  c.schedule.update(name="step", peak=0.01, epochs=150.0, milestones=(70.0,))
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
