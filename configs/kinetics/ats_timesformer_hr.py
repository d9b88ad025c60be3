"""TimeSformer-HR, 16 frames of 448 x 448, with adaptive token sampling in blocks 3 to 5, Kinetics-600.

vidx train --config=configs/kinetics/ats_timesformer_hr.py --config.data.root=... \\
  --config.train.init_from=TIMESFORMER_WEIGHTS --workdir=...
vidx eval --workdir=... --views=1x3
Fine-tuned from TimeSformer's weights.
Published (1x3 views): Kinetics-600 82.2 top-1 (82.4 without sampling); ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ats_timesformer_hr", num_classes=600)
  c.data.update(dataset=dict(name="kinetics"), frames=16, sampler="stride", stride=16, short_side=512, crop=448,
                mean=(0.45,) * 3, std=(0.225,) * 3)
  c.optimizer.update(name="sgd", momentum=0.9, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=5e-6, epochs=5.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=4, crops=3)
  return c
