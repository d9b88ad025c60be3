"""TeSNet on Inception-ResNet-V2, 10 consecutive frames as 3 squeezed images, UCF101.

vidx train --config=configs/ucf101/tesnet.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=20x1  (whole frames of 256 x 340)
Split 1; --config.data.dataset.fold=2 chooses another. Clips of 64 frames: --config.data.frames=64
--config.train.batch_size=8 and system.placements as in vidx.systems.tesnet.PLACEMENTS.
Published: 85.4 on split 1 from frames alone; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tesnet", num_classes=101, placements=(("input", 10, 3),), dropout=0.5,
                  frozen_bn="all_but_first")
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=10, sampler="stride", short_side=256, crop=299,
                whole=(256, 340), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="sgd", weight_decay=4e-5, nesterov=False)
  c.schedule.update(name="plateau", peak=1e-3, epochs=30.0, patience=3)
  c.train.batch_size = 32
  c.train.init_exclude = ("head",)
  return c
