"""MuCon on published frame scores of 50Salads, learned from transcripts, or with the word full from all frame labels.

vidx train --config=configs/salads50/scores_mucon.py --config.data.root=... --workdir=...
vidx train --config=configs/salads50/scores_mucon.py:full ...
The folder that `vidx data scores` writes from the per-frame scores of 18 classes that Lea et al. 2017 released.
Split 1 of five (--config.data.dataset.fold=N). Scores come from classifiers that saw other videos than those they
score, so a fold is not independent of the others: for comparison of methods.
Ours: configs/salads50/README.md.
"""

from vidx.train import config

VARIANTS = ("weak", "full")


def get_config(which: str = "weak"):
  c = config.base()
  # Who learns from transcripts sees little beside a frame: a trunk that sees far learns any lengths by heart.
  c.system = dict(name="mucon", num_classes=18, backbone=(1, 2, 4, 8, 16) if which == "full" else (1, 1, 1),
                  pools=(0, 1), width=48, hidden=32, groups=16, points=10, corner="centre", frame_weight=30.0,
                  max_segments=40, max_length=256)
  c.task = dict(name="segmentation", ignore="background", background="background", average="video")
  c.data.update(dataset=dict(name="ms_tcn", fold=1), feature_size=18, full_share=float(which == "full"), workers=0,
                bucket_multiple=192, bucket_growth=1.0)
  c.optimizer.update(name="adamw", weight_decay=1e-4, clip_norm=10.0)
  c.schedule.update(name="cosine", peak=5e-3, epochs=70.0)
  c.train.batch_size = 4
  c.eval.update(batch_size=10, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
