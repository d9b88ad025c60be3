"""DAN on TSM ResNet-50, 16 segments of 8 frames, UCF101, tuned from a Kinetics run.

vidx train --config=configs/ucf101/dan.py --config.data.root=... --config.train.init_from=KINETICS_WORKDIR --workdir=...
vidx eval --workdir=... --views=2x3 --config.data.test_crop=256
Batch statistics stay frozen but for the first layer. Split 1; --config.data.dataset.fold=2 chooses another.
Published: 96.5 over three splits; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="dan", trunk="tsm_r50", num_classes=101, consecutive=8, dropout=0.8, frozen_bn="all_but_first")
  c.task = dict(name="joint", mode="mgda")
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=16, consecutive=8, sampler="uniform",
                jitter=(256, 320), short_side=256, crop=224, crop_mode="random")
  c.optimizer.update(name="sgd", weight_decay=1e-4, nesterov=False, no_decay=r"(bias|scale)$|^projection/basis/",
                     groups=(("head/.*kernel", 5.0, 5.0), ("head/.*bias", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=1e-3, reference_batch=64, epochs=10.0)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
