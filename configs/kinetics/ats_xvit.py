"""XViT, 16 frames, with adaptive token sampling in blocks 3 to 11, fine-tuned from XViT's weights, Kinetics.

vidx train --config=configs/kinetics/ats_xvit.py --config.data.root=... \\
  --config.train.init_from=XVIT_WEIGHTS --workdir=...
vidx eval --workdir=... --views=1x3
Published (1x3 views): Kinetics-400 80.0 top-1 (80.2 without sampling), Kinetics-600 84.4
(84.5; 83.4 without fine-tuning); ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ats_xvit_b16", num_classes=400)
  c.data.update(dataset=dict(name="kinetics"), frames=16, sampler="stride", stride=16, short_side=256, crop=224,
                jitter=(256, 320), crop_mode="random", mean=(0.5,) * 3, std=(0.5,) * 3)
  c.optimizer.update(name="sgd", momentum=0.9, weight_decay=1e-5)
  c.schedule.update(name="cosine", peak=1.5e-6, epochs=10.0)
  c.train.update(batch_size=64, mixup=0.4)
  c.eval.update(crops=3)
  return c
