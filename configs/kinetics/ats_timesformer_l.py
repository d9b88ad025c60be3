"""TimeSformer-L, 96 frames, with adaptive token sampling in blocks 3 to 5, Kinetics-400.

vidx train --config=configs/kinetics/ats_timesformer_l.py --config.data.root=... \\
  --config.train.init_from=TIMESFORMER_WEIGHTS --workdir=...
vidx eval --workdir=... --views=1x3
Fine-tuned from TimeSformer's weights.
Published (1x3 views): Kinetics-400 80.5 top-1 (80.7 without sampling); ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ats_timesformer_l", num_classes=400)
  c.data.update(dataset=dict(name="kinetics"), frames=96, sampler="stride", stride=4, short_side=256, crop=224,
                mean=(0.45,) * 3, std=(0.225,) * 3)
  c.optimizer.update(name="sgd", momentum=0.9, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=5e-6, epochs=5.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=4, crops=3)
  return c
