"""TeSNet on Inception-ResNet-V2, 10 consecutive frames as 3 squeezed images, HMDB51.

vidx train --config=configs/hmdb51/tesnet.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=20x1  (whole frames of 256 x 340)
Split 1; --config.data.dataset.fold=2 chooses another. The word behind the colon: squeezed, or 64 for clips of 64
frames.
Published: 71.5 over three splits with 64 frames, fused with configs/hmdb51/tesnet_flow.py; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("squeezed", "64")


def get_config(row="squeezed"):
  c = config.load_file(f"configs/ucf101/tesnet.py:{row}")
  c.system.num_classes = 51
  c.data.dataset.name = "hmdb51"
  return c
