"""3D ResNet-50 with similarity guided sampling, 32 frames, stride 2, HMDB51, tuned from a Kinetics-400 run.

vidx train --config=configs/hmdb51/atfr.py --config.data.root=... \\
  --config.train.init_from=KINETICS_WORKDIR --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256
Published: 76.7 top-1 at 23.1 GFLOPs per view (mean of the splits); split 1, --config.data.dataset.fold=2 chooses
another. Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="atfr_resnet3d_slim_50", num_classes=51, dropout=0.5)
  c.data.update(dataset=dict(name="hmdb51", fold=1), frames=32, sampler="stride", stride=2, short_side=256, crop=224,
                jitter=(256, 320), crop_mode="random", mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=0.01, reference_batch=64, epochs=30.0, warmup_epochs=2.0, warmup_from=0.1)
  c.train.batch_size = 64
  c.train.init_exclude = ("head",)
  return c
