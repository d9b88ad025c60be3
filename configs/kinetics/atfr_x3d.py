"""X3D with similarity guided sampling, Kinetics-400, from scratch.

The size may follow the file's name: s (13 frames), m, l or xl (16 frames).

vidx train --config=configs/kinetics/atfr_x3d.py --config.data.root=... --workdir=...
vidx train --config=configs/kinetics/atfr_x3d.py:xl ...
vidx eval --workdir=... --views=10x1
vidx eval --workdir=... --views=10x3 --config.data.test_crop=356  (182 for S, 256 for M)
Published (10 views, GFLOPs of one): S 73.5 top-1 at 1.0, without sampling 72.9 at 1.9; XL 78.6 at 20, without
78.4 at 35.8, and with 10x3 views of 356 pixels 79.3 at 26.3; M on Kinetics-600 79.0 at 3.3 (10x3 views of 256);
ours: not yet measured.
"""

from vidx.train import config

SIZES = {"s": (13, 6, 160, 182, 228), "m": (16, 5, 224, 256, 320), "l": (16, 5, 312, 356, 446),
         "xl": (16, 5, 312, 356, 446)}
VARIANTS = tuple(SIZES)


def get_config(size="s"):
  frames, stride, crop, short, long = SIZES[size]
  c = config.base()
  c.system = dict(name=f"atfr_x3d_{size}", num_classes=400, dropout=0.5)
  c.data.update(dataset=dict(name="kinetics"), frames=frames, sampler="stride", stride=stride, short_side=short,
                crop=crop, jitter=(short, long), crop_mode="random", mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=5e-5)
  c.schedule.update(name="cosine", peak=0.1, reference_batch=128, epochs=300.0, warmup_epochs=35.0, warmup_from=0.1)
  c.train.batch_size = 128
  return c
