"""What AVSlowFast has learned on Kinetics-400 without labels, told by a linear classifier, or tuned as a whole: UCF101.

vidx train --config=configs/kinetics/avslowfast.py:ssl_4x16 --config.data.root=KINETICS --workdir=runs/ssl_4x16
vidx train --config=configs/ucf101/avslowfast.py:linear_4x16 --config.data.root=... --runs=runs \\
  --workdir=runs/linear_4x16
vidx eval --workdir=runs/linear_4x16 --views=10x3 --config.data.test_crop=256

The word behind the colon: linear or tuned, then 4x16, 8x8 or 16x4.
Split 1; --config.data.dataset.fold=2 chooses another.
Published, mean of three splits: 4x16 76.8 linear, 87.0 tuned; 8x8 77.4; 16x4 77.4.
Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = tuple(f"{how}_{frames}" for how in ("linear", "tuned") for frames in ("4x16", "8x8", "16x4"))


def get_config(variant="linear_4x16"):
  how, _, frames = variant.partition("_")
  c = config.base()
  c.system = dict(name="avslowfast_r50_4x16", trunk=f"slowfast_r50_{frames}", num_classes=101, avs=(), drop=0.0,
                  fs_stages=(0, 0, 0, 0), afs_stages=(0, 0, 0, 0), dropout=0.5 if how == "tuned" else 0.0)
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=32, sampler="stride", stride=2, short_side=256, crop=224,
                jitter=(256, 320), crop_mode="random", mean=(0.45,) * 3, std=(0.225,) * 3)
  c.data.audio.mels = 40
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.train.update(init_from=(("", f"{config.RUNS}/ssl_{frames}"),), init_exclude=("head",))
  if how == "linear":
    c.system.frozen_bn = "all"
    c.optimizer.frozen = ("^(?!head/)",)
    c.schedule.update(name="cosine", peak=0.01, epochs=2147.0)
    c.train.batch_size = 64
  else:
    c.schedule.update(name="cosine", peak=0.005, epochs=134.0)
    c.train.batch_size = 16
  c.eval.every_epochs = 10.0
  return c
