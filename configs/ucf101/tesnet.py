"""TeSNet on Inception-ResNet-V2, 10 consecutive frames as 3 squeezed images, UCF101.

The word behind the colon is a row of the tables: squeezed, this one; one_image, one squeezed image; conv4a, block_a,
block_b, two poolings inside of the network; 16, clips of 16 frames at the input; 64, two poolings for clips of 64; and
what it is compared with: frame, single frames, and tsn, three of a clip.

vidx train --config=configs/ucf101/tesnet.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
vidx eval --workdir=... --views=20x1  (whole frames of 256 x 340)
Split 1; --config.data.dataset.fold=2 chooses another.
Published on split 1 from frames alone: squeezed 85.4, one_image 83.1, conv4a 81.7, block_a 84.9, block_b 85.3; in
batches of 8 10 frames 85.3, 16 86.2, 64 87.8; frame 83.5, tsn 85.0. Ours: not yet measured.
"""

from vidx.systems.tesnet import PLACEMENTS
from vidx.train import config

ROWS = {"squeezed": PLACEMENTS[1], "one_image": PLACEMENTS[2], "conv4a": PLACEMENTS[3], "block_a": PLACEMENTS[4],
        "block_b": PLACEMENTS[5], "16": (("input", 16, 3),), "64": PLACEMENTS["64 frames"], "frame": None, "tsn": None}
FRAMES = {"16": 16, "64": 64, "frame": 1, "tsn": 3}
VARIANTS = tuple(ROWS)


def get_config(row="squeezed"):
  c = config.base()
  c.system = dict(name="tesnet", num_classes=101, placements=ROWS[row], dropout=0.5, frozen_bn="all_but_first")
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=FRAMES.get(row, 10), sampler="stride", short_side=256,
                crop=299, whole=(256, 340), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  if row == "tsn":
    c.data.sampler = "segments"
  c.optimizer.update(name="sgd", weight_decay=4e-5, nesterov=False)
  c.schedule.update(name="plateau", peak=1e-3, epochs=30.0, patience=3)
  c.train.batch_size = 8 if row == "64" else 32
  c.train.init_exclude = ("head",)
  return c
