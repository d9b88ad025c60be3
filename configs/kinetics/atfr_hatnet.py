"""HATNet-50 with similarity guided sampling behind res2, 32 frames of 112 x 112, on Kinetics, tuned from HATNet.

The word behind the colon: 400 or 600, the number of classes; the run is one of configs/kinetics/hatnet.py.

vidx train --config=configs/kinetics/atfr_hatnet.py --config.data.root=... --config.train.init_from=RUN --workdir=...
vidx eval --workdir=... --views=10x1
Published (10 clips): 79.3 top-1 with and without sampling on Kinetics-400, 81.6 on Kinetics-600, with 37 % fewer
FLOPs; its 45.8 GFLOPs of one clip do not follow from the text, ours are 213.6. Ours: not yet measured.
"""

from vidx.train import config

KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

VARIANTS = ("400", "600")


def get_config(classes="400"):
  c = config.base()
  c.system = dict(name="atfr_hatnet_50", num_classes=int(classes), dropout=0.5, clip_norm=KINETICS,
                  appearance_norm=IMAGENET)
  c.data.update(dataset=dict(name="kinetics"), frames=32, sampler="stride", stride=2, short_side=128, crop=112,
                mean=KINETICS[0], std=KINETICS[1])
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=0.01, reference_batch=64, epochs=50.0, warmup_epochs=2.0, warmup_from=0.1)
  c.train.batch_size = 64
  return c
