"""SlowFast and 3D ResNets with similarity guided sampling, 32 frames, stride 2, Kinetics-400, from scratch.

The trunk may follow the file's name: resnet3d_slim_50, whose run is tuned on UCF101 and HMDB51.

vidx train --config=configs/kinetics/atfr.py --config.data.root=... --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256
Published (10x3 views, GFLOPs of one): SlowFast 4x16 R50 75.8 top-1 at 20.8, without sampling 75.6 at 36.1;
ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("slowfast_r50_4x16", "resnet3d_slim_50")


def get_config(trunk="slowfast_r50_4x16"):
  c = config.base()
  c.system = dict(name=f"atfr_{trunk}", num_classes=400, dropout=0.5)
  c.data.update(dataset=dict(name="kinetics"), frames=32, sampler="stride", stride=2, short_side=256, crop=224,
                jitter=(256, 320), crop_mode="random", mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=0.1, reference_batch=64, epochs=196.0, warmup_epochs=34.0, warmup_from=0.1)
  c.train.batch_size = 64
  return c
