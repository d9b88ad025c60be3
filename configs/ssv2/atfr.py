"""SlowFast with similarity guided sampling within temporal blocks, 64 frames, Something-Something V2: no flips.

Frames are merged within blocks of 8 frames of the fast pathway and of 2 of the slow one.

vidx train --config=configs/ssv2/atfr.py --config.data.root=... --config.train.init_from=KINETICS_WORKDIR --workdir=...
Published: 61.8 top-1 at 87.8 GFLOPs, without sampling 61.7 at 132.8, from Kinetics-400; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="atfr_slowfast_r50_8x8", num_classes=174, dropout=0.5, block_len=(2, 8))
  c.data.update(dataset=dict(name="ssv2"), frames=64, sampler="uniform", short_side=256, crop=224, jitter=(256, 320),
                crop_mode="random", flip=False, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=0.01, reference_batch=64, epochs=22.0, warmup_epochs=1.0, warmup_from=0.1)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
