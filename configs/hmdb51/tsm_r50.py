"""TSM ResNet-50, 8 frames, HMDB51, tuned from a Kinetics run; batch statistics stay frozen but for the first layer.

vidx train --config=configs/hmdb51/tsm_r50.py --config.data.root=... \\
  --config.train.init_from=KINETICS_WORKDIR --workdir=...
Split 1; --config.data.dataset.fold=2 chooses another. Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsm_r50", num_classes=51, dropout=0.8, frozen_bn="all_but_first")
  c.data.update(dataset=dict(name="hmdb51", fold=1), frames=8, sampler="uniform", short_side=256, crop=224)
  c.optimizer.update(name="sgd", weight_decay=5e-4, clip_norm=20.0)
  c.schedule.update(name="step", peak=1e-3, reference_batch=64, epochs=25.0, milestones=(10.0, 20.0))
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
