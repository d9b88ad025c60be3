"""X3D on plain frames, Kinetics-400, from scratch: what DAN and BQN on X3D are compared with, and start from.

The size may follow the file's name: m (16 frames of 224 x 224) or xs (4 of 160 x 160).

vidx train --config=configs/kinetics/x3d.py --config.data.root=... --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256  (xs: 182)
Published (10x3 views): m 76.0 top-1, as its authors have it, 75.1 where Huang trained it; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("m", "xs")


def get_config(size="m"):
  frames, stride, crop, short, long = {"m": (16, 5, 224, 256, 320), "xs": (4, 12, 160, 182, 228)}[size]
  c = config.base()
  c.system = dict(name=f"x3d_{size}", num_classes=400, dropout=0.5)
  c.data.update(dataset=dict(name="kinetics"), frames=frames, sampler="stride", stride=stride, short_side=short,
                crop=crop, jitter=(short, long), crop_mode="random", mean=(0.45,) * 3, std=(0.225,) * 3)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=5e-5)
  c.schedule.update(name="cosine", peak=0.4, reference_batch=256, epochs=256.0, warmup_epochs=7.0)
  c.train.batch_size = 256
  return c
