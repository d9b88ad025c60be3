"""3D networks with similarity guided sampling on Mini-Kinetics, 32 frames, stride 2, from scratch.

The trunk may follow the file's name: resnet3d_slim_18, r2plus1d_bottleneck_18 and _50, i3d_r50, x3d_s, slowfast_r18_8x8
and slowfast_r50_8x8. --config.system.control=none leaves the sampling out.

vidx train --config=configs/minikinetics/atfr.py --config.data.root=... --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256  (182 for x3d_s)
Published (10x3 views, GFLOPs of one): resnet3d_slim_50 79.3 top-1 at 23.4 (without sampling 79.2 at 40.8),
i3d_r50 78.8 at 105.2 (79.3 at 148.4), r2plus1d_bottleneck_50 78.2 at 67.3 (78.7 at 101.8), x3d_s 78.0 at 1.1
(77.9 at 1.9), resnet3d_slim_18 69.6 at 14.0, r2plus1d_bottleneck_18 69.3 at 32.3 (69.3 at 46.5); without sampling
slowfast_r18_8x8 77.5 at 40.4, slowfast_r50_8x8 79.3 at 65.7; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("resnet3d_slim_50", "resnet3d_slim_18", "r2plus1d_bottleneck_18", "r2plus1d_bottleneck_50", "i3d_r50",
            "x3d_s", "slowfast_r18_8x8", "slowfast_r50_8x8")


def get_config(trunk="resnet3d_slim_50"):
  c = config.base()
  c.system = dict(name=f"atfr_{trunk}", num_classes=200, dropout=0.5)
  c.data.update(dataset=dict(name="frame_list", file="mini_{split}_videofolder.txt", pattern="{:05d}.jpg"),
                frames=32, sampler="stride", stride=2, short_side=256, crop=224, jitter=(256, 320), crop_mode="random",
                mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=0.1, reference_batch=64, epochs=196.0, warmup_epochs=34.0, warmup_from=0.1)
  c.train.batch_size = 64
  if trunk.startswith("x3d"):
    c.data.update(frames=13, stride=6, short_side=182, crop=160, jitter=(182, 228))
    c.optimizer.weight_decay = 5e-5
    c.schedule.update(reference_batch=128, epochs=300.0, warmup_epochs=35.0)
    c.train.batch_size = 128
  return c
