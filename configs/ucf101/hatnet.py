"""HATNet tuned on UCF101 from a run on HVU or on Kinetics.

The word behind the colon names the net: 18_32, 50 (16 frames) or 50_32.

vidx train --config=configs/ucf101/hatnet.py:50_32 --config.data.root=... --config.train.init_from=RUN
           --workdir=...
vidx eval --workdir=... --views=10x1
Published top-1 (mean of the splits): ResNet-50 with 32 frames 97.8 from HVU, 96.8 from Kinetics; with 16 frames 96.5;
ResNet-18 with 32 frames 96.9.
Ours: not yet measured.
"""

from vidx.train import config

KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETS = {"18_32": ("hatnet_18", 32), "50": ("hatnet_50", 16), "50_32": ("hatnet_50", 32)}

VARIANTS = tuple(NETS)


def get_config(variant="18_32"):
  c = config.base()
  name, frames = NETS[variant]
  c.system = dict(name=name, num_classes=101, dropout=0.5, clip_norm=KINETICS, appearance_norm=IMAGENET)
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=frames, sampler="stride", stride=2, short_side=128,
                crop=112, mean=KINETICS[0], std=KINETICS[1])
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.schedule.update(name="plateau", peak=0.01, reference_batch=128, epochs=30.0)
  c.train.batch_size = 128
  c.train.init_exclude = ("head",)
  return c
