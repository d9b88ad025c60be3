"""TeSNet on optical flow, the temporal stream: 10 consecutive images of flow as 3 squeezed ones, UCF101.

vidx train --config=configs/ucf101/tesnet_flow.py --config.data.root=... \\
  --config.data.flow=tvl1/{axis}/{name}/frame{index}.jpg
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=runs/flow
vidx eval --workdir=runs/rgb --fuse=runs/flow --views=20x1
vidx predict --workdir=runs/rgb --beside=runs/flow --show=input,squeezed VIDEO  (draws what both squeeze, figure 3.7)
`data.flow` says where below the root the images of both axes are, such as flow/{id}/flow_{axis}_{index}.jpg of those
that `vidx data flow` writes; the first layer starts as the mean of the colours.
The word behind the colon, one of configs/ucf101/tesnet.py: squeezed, 64, frame or tsn.
Published on split 1, and fused with that stream: frame 85.4, 92.5; tsn 85.1, 92.9; 64 88.2, 95.2. Ours: not yet
measured.
"""

from vidx.train import config

VARIANTS = ("squeezed", "64", "frame", "tsn")


def get_config(row="squeezed"):
  c = config.load_file(f"configs/ucf101/tesnet.py:{row}")
  c.data.flow = "tvl1/{axis}/{name}/frame{index}.jpg"
  c.schedule.peak = 5e-3
  return c
