"""TSM ResNet-50, 8 frames, on any folder of videos.

vidx train --config=configs/folder/tsm.py --config.data.root=FOLDER --workdir=runs/mine

FOLDER holds a folder per class, or a clips.csv with `path,label` and optionally
`split` or `fold` (then add --config.data.train_folds=0,1 --config.data.val_folds=2),
`group` and `start,end`; see vidx/data/datasets/tables.py.
The number of classes comes from the data.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsm", trunk="resnet_50", dropout=0.5)
  c.data.update(frames=8, sampler="uniform", short_side=256, crop=224)
  c.optimizer.update(name="sgd", weight_decay=1e-4, clip_norm=20.0)
  c.schedule.update(name="cosine", peak=0.01, reference_batch=64, warmup_epochs=5.0, epochs=50.0)
  c.train.batch_size = 64
  return c
