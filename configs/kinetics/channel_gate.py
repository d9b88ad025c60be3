"""TSM ResNet-50 with channel gates in res3 and res4, where RNL has its blocks, 8 frames, Kinetics-400.

The word behind the colon: se, gc or cbam.

vidx train --config=configs/kinetics/channel_gate.py:cbam --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256
Published: se 73.7 top-1, cbam 74.0, gc 73.8; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("se", "gc", "cbam")


def get_config(form="se"):
  c = config.load_file("configs/kinetics/rnl.py")
  c.system = dict(name="channel_gate", form=form, num_classes=400, dropout=0.5)
  return c
