"""A frame classifier aligned by a duration DP, on a folder of your own long videos, learned from their transcripts.

vidx train --config=configs/folder/length_dp.py --config.data.root=... --workdir=...
The folder has features/NAME.npy (`vidx data features` writes them), labels/NAME.txt or transcripts/NAME.txt and
classes.txt; see vidx/data/datasets/segments.py. A fifth of the videos is for validation, unless lists say otherwise.
Of what learns from transcripts it came out first by far on real videos; see configs/salads50/README.md.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="length_dp")
  c.task = dict(name="segmentation")
  c.data.update(dataset=dict(name="segments"), full_share=0.0, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.0)
  c.schedule.update(name="cosine", peak=1e-3, epochs=30.0)
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
