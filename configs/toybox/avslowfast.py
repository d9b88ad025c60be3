"""Small AVSlowFast on Toybox tones, whose classes are a direction that is seen and a pitch that is heard.

vidx data toybox --out=runs/toybox/tones --labels=tones
vidx train --config=configs/toybox/avslowfast.py --workdir=runs/av
vidx train --config=configs/toybox/avslowfast.py:ssl --workdir=runs/toybox_av_ssl
vidx train --config=configs/toybox/avslowfast.py:linear --runs=runs --workdir=runs/toybox_av_linear

The word behind the colon: both, sight or sound; ssl, without labels; linear, a classifier on what that has learned, and
random, one on a network as it is drawn.
"""

from vidx.train import config

VARIANTS = ("both", "sight", "sound", "ssl", "linear", "random")
SMALL = dict(name="avslowfast_r50_4x16", trunk="slowfast_r50_4x16", stages=(1, 1, 1), width=32, strides=(1, 2, 2),
             slow_temporal=(1, 1, 3), fast_temporal=(3, 3, 3), alpha=4, fs_stages=(0, 0, 1), afs_stages=(0, 0, 1),
             avs=("res3", "res4"), drop=0.5, dropout=0.0)
APART = dict(fs_stages=(0, 0, 0), afs_stages=(0, 0, 0))


def get_config(variant="both"):
  c = config.base()
  c.system = dict(SMALL, zero_init=False)
  c.data.update(root="runs/toybox/tones", frames=8, sampler="stride", stride=2, short_side=64, crop=56,
                crop_mode="random", flip=False, mean=(0.45,) * 3, std=(0.225,) * 3, workers=0)
  c.data.audio.update(rows=64, mels=40, gap=0.2)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=1.0, epochs=15.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  if variant in ("sight", "sound"):
    c.system.streams = variant
  if variant == "sound":
    c.data.audio.seconds = 16 / 12
  if variant == "ssl":
    c.system.update(APART, num_classes=0, rotation=True, score_sync=True)
    c.task = dict(name="audiovisual")
  if variant in ("linear", "random"):
    c.system.update(APART, avs=(), drop=0.0)
    c.optimizer.update(frozen=("^(?!head/)",), weight_decay=0.0)
    if variant == "linear":
      c.train.update(init_from=(("", f"{config.RUNS}/toybox_av_ssl"),), init_exclude=("head",))
      c.system.frozen_bn = "all"
  return c
