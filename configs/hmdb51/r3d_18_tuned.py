"""3D-ResNet18, 16 frames of 112 x 112, tuned on HMDB51 from a run on HVU or on Kinetics, or from scratch.

The word behind the colon: tuned, whose run to start from is given on the command line, or scratch (table 5.7).

vidx train --config=configs/hmdb51/r3d_18_tuned.py --config.data.root=... --config.train.init_from=RUN --workdir=...
Published top-1 (mean of the splits): from scratch 33.4, from Kinetics 62.1, from HVU 65.1; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("tuned", "scratch")


def get_config(start="tuned"):
  c = config.base()
  peak = {"tuned": 0.01, "scratch": 0.1}[start]
  c.system = dict(name="r3d_18", num_classes=51, dropout=0.5)
  c.data.update(dataset=dict(name="hmdb51", fold=1), frames=16, sampler="stride", stride=2, short_side=128, crop=112,
                mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.schedule.update(name="plateau", peak=peak, reference_batch=128, epochs=50.0)
  c.train.batch_size = 128
  c.train.init_exclude = ("head",)
  return c
