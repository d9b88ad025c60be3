"""TeSNet on optical flow, the temporal stream: 10 consecutive images of flow as 3 squeezed ones, HMDB51.

vidx train --config=configs/hmdb51/tesnet_flow.py --config.data.root=... \\
  --config.data.flow=tvl1/{axis}/{name}/frame{index}.jpg
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=runs/flow
vidx eval --workdir=runs/rgb --fuse=runs/flow --views=20x1
`data.flow` says where below the root the images of both axes are, such as flow/{id}/flow_{axis}_{index}.jpg of those
that `vidx data flow` writes; the first layer starts as the mean of the colours.
The word behind the colon: squeezed, or 64 for clips of 64 frames.
Published: 71.5 over three splits with 64 frames, fused with configs/hmdb51/tesnet.py; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("squeezed", "64")


def get_config(row="squeezed"):
  c = config.load_file(f"configs/ucf101/tesnet_flow.py:{row}")
  c.system.num_classes = 51
  c.data.dataset.name = "hmdb51"
  return c
