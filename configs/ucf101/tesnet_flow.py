"""TeSNet on optical flow, the temporal stream: 10 consecutive images of flow as 3 squeezed ones, UCF101.

vidx train --config=configs/ucf101/tesnet_flow.py --config.data.root=... \\
  --config.data.flow=tvl1/{axis}/{name}/frame{index}.jpg
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=runs/flow
vidx eval --workdir=runs/rgb --fuse=runs/flow --views=20x1
`data.flow` says where below the root the images of both axes are; the first layer starts as the mean of the colours.
Published: 88.2 on split 1 for clips of 64, fused with configs/ucf101/tesnet.py 95.2; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tesnet", num_classes=101, placements=(("input", 10, 3),), dropout=0.5,
                  frozen_bn="all_but_first")
  c.data.update(dataset=dict(name="ucf101", fold=1), flow="tvl1/{axis}/{name}/frame{index}.jpg", frames=10,
                sampler="stride", short_side=256, crop=299, whole=(256, 340), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="sgd", weight_decay=4e-5, nesterov=False)
  c.schedule.update(name="plateau", peak=5e-3, epochs=30.0, patience=3)
  c.train.batch_size = 32
  c.train.init_exclude = ("head",)
  return c
