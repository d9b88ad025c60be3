"""X3D on plain frames, Something-Something V1: no flips, its classes know left from right.

The word behind the colon: xs (4 frames of 160 x 160) and m (16 of 224 x 224), tuned from a run of
configs/kinetics/x3d.py; m_scratch, without one.

vidx train --config=configs/ssv1/x3d.py:m --config.data.root=... --config.train.init_from=KINETICS_WORKDIR --workdir=...
vidx eval --workdir=... --views=2x3 --config.data.test_crop=256  (xs without data.test_crop)
Published top-1 (2x3 views): xs 40.6, m 52.0, m_scratch 46.7; of one view: xs 38.3, m_scratch 45.5. Ours: not yet
measured.
"""

from vidx.train import config

VARIANTS = ("m", "m_scratch", "xs")


def get_config(which="m"):
  c = config.base()
  size = which.partition("_")[0]
  frames, crop, short, long = {"m": (16, 224, 256, 320), "xs": (4, 160, 182, 228)}[size]
  c.system = dict(name=f"x3d_{size}", num_classes=174, dropout=0.8)
  c.data.update(dataset=dict(name="ssv1"), frames=frames, sampler="uniform", short_side=short, crop=crop,
                jitter=(short, long), crop_mode="random", flip=False, mean=(0.45,) * 3, std=(0.225,) * 3)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=4e-4, groups=(
      ("head/.*kernel", 5.0, 5.0), ("head/.*bias", 5.0, 0.0)))
  c.schedule.update(name="cosine", peak=0.12, reference_batch=256, epochs=50.0, warmup_epochs=7.0)
  c.train.batch_size = 256
  c.train.init_exclude = ("head",)
  if which == "m_scratch":
    c.system.dropout = 0.5
    c.optimizer.weight_decay = 5e-5
    c.schedule.update(peak=0.2, epochs=100.0)
  return c
