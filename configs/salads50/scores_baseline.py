"""What transcripts and sets give without a method for them, on published frame scores of 50Salads.

vidx train --config=configs/salads50/scores_baseline.py --config.data.root=... --workdir=...
vidx train --config=configs/salads50/scores_baseline.py:dp_set ... and even_set, even_transcript, dp_transcript: labels
by an even split or by a duration DP, from sets or from transcripts, as which an even split is learned without a word;
soft_transcript: by soft boundaries that move four times, after Ding and Xu 2018; forward_transcript: by the loss of Li
et al. 2019 on segmentations near the alignment of a duration DP.
The folder that `vidx data scores` writes from the per-frame scores of 18 classes that Lea et al. 2017 released.
Split 1 of five (--config.data.dataset.fold=N). Scores come from classifiers that saw other videos than those they
score, so a fold is not independent of the others: for comparison of methods.
Ours: configs/salads50/README.md.
"""

from vidx.train import config

VARIANTS = ("even_transcript", "even_set", "dp_transcript", "dp_set", "soft_transcript", "forward_transcript")


def get_config(which: str = "even_transcript"):
  method, supervision = which.split("_")
  c = config.base()
  names = dict(even="uniform_split", dp="length_dp", soft="soft_boundaries", forward="forward_loss")
  c.system = dict(name=names[method], num_classes=18, supervision=supervision,
                  layers=7, width=48, max_length=256)
  if method == "soft":
    c.system.insert_every = 120  # steps, of 600
  elif method == "forward":
    c.system.update(window=2, step=1)  # frames are a second apart
  c.task = dict(name="segmentation", ignore="background", background="background", average="video")
  c.data.update(dataset=dict(name="ms_tcn", fold=1), feature_size=18, full_share=0.0, workers=0,
                bucket_multiple=192, bucket_growth=1.0)
  c.optimizer.update(name="adamw", weight_decay=0.0)
  c.schedule.update(name="cosine", peak=1e-3, epochs=15.0)
  c.train.batch_size = 1
  c.eval.update(batch_size=10, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
