"""AVSlowFast, SlowFast and sound alone on Kinetics-400, from scratch, and AVSlowFast learned without labels.

vidx train --config=configs/kinetics/avslowfast.py:r50_4x16 --config.data.root=... --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256 --config.data.dataset.subset=sounds

The word behind the colon: r50_4x16, r50_8x8, r101_8x8 with sound; sight_r50_4x16, sight_r101_8x8 without; sound, the
audio pathway alone; without labels ssl_4x16, ssl_8x8, ssl_16x4, of which configs/ucf101/avslowfast.py goes on, and
ssl_rotation_4x16 and ssl_sync_4x16, turns of sight alone, and sound that belongs to it alone; and of r50_4x16 the rows
of the ablations: pool5, res4, res234 (where sound comes in), a_f_s, nonlocal (how), beta_8, beta_4, beta_1 (width),
drop_0, drop_2, drop_5 (tenths of the steps), avs_none, avs_5, avs_45 (where it is compared).
Published (10x3 views), top-1 / top-5 / Kinetics-Sounds: r50_4x16 77.0 / 92.7 / 83.7, r101_8x8 78.8 / 93.6 / 85.0,
sight_r50_4x16 75.6 / 92.0 / 80.5, sight_r101_8x8 77.9 / 93.2 / 82.7, sound 24.8 / 43.3; top-1 of pool5 75.4, res4
76.5, res234 75.8, a_f_s 75.3, nonlocal 77.2, beta_8 76.0, beta_4 76.6, beta_1 75.9, drop_0 75.2, drop_2 76.0, drop_5
76.7, avs_none 76.4, avs_5 76.7, avs_45 76.9. Ours: not yet measured.
"""

from vidx.train import config

NETS = {
    "r50_4x16": dict(name="avslowfast_r50_4x16"),
    "r50_8x8": dict(name="avslowfast_r50_8x8"),
    "r101_8x8": dict(name="avslowfast_r101_8x8"),
    "sight_r50_4x16": dict(name="slowfast_r50_4x16"),
    "sight_r101_8x8": dict(name="slowfast_r101_8x8_50_50"),
    "sound": dict(name="audio_r50"),
}
ROWS = {
    "pool5": dict(fs_stages=(0, 0, 0, 0), afs_stages=(0, 0, 0, 0)),
    "res4": dict(fs_stages=(0, 0, 0, 1), afs_stages=(0, 0, 0, 1)),
    "res234": dict(fs_stages=(0, 1, 1, 1), afs_stages=(0, 1, 1, 1), avs=("res2", "res3", "res4", "res5")),
    "a_f_s": dict(fusion="a_f_s"), "nonlocal": dict(fusion="nonlocal"),
    "beta_8": dict(beta=1 / 8), "beta_4": dict(beta=1 / 4), "beta_1": dict(beta=1.0),
    "drop_0": dict(drop=0.0), "drop_2": dict(drop=0.2), "drop_5": dict(drop=0.5),
    "avs_none": dict(avs=()), "avs_5": dict(avs=("res5",)), "avs_45": dict(avs=("res4", "res5")),
}
WITHOUT_LABELS = {f"ssl_{frames}": f"slowfast_r50_{frames}" for frames in ("4x16", "8x8", "16x4")}
HALVES = ("ssl_rotation_4x16", "ssl_sync_4x16")

VARIANTS = (*NETS, *ROWS, *WITHOUT_LABELS, *HALVES)


def get_config(variant="r50_4x16"):
  c = config.base()
  c.data.update(dataset=dict(name="kinetics"), frames=32, sampler="stride", stride=2, short_side=256, crop=224,
                jitter=(256, 320), crop_mode="random", mean=(0.45,) * 3, std=(0.225,) * 3)
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=0.1, reference_batch=64, epochs=196.0, warmup_epochs=34.0, warmup_from=0.1)
  c.train.update(batch_size=64, precise_bn=200)
  c.eval.every_epochs = 10.0
  if variant in WITHOUT_LABELS or variant in HALVES:
    c.system = dict(name="avslowfast_r50_4x16", trunk=WITHOUT_LABELS.get(variant, "slowfast_r50_4x16"),
                    num_classes=0, rotation=True, score_sync=True, fs_stages=(0, 0, 0, 0),
                    afs_stages=(0, 0, 0, 0), bn_groups=8)
    c.task = dict(name="audiovisual")
    if variant == "ssl_rotation_4x16":
      c.system.update(streams="sight", score_sync=False)
      c.task.sync = False
    if variant == "ssl_sync_4x16":
      c.system.rotation = False
      c.task.rotation = False
    c.data.audio.mels = 40
    c.schedule.update(name="step", peak=1.6, reference_batch=1024, epochs=512.0, warmup_epochs=42.0, warmup_from=6e-4,
                      milestones=(341.0, 427.0, 469.0))
    return c
  c.system = dict(NETS.get(variant) or {**NETS["r50_4x16"], **ROWS[variant]}, num_classes=400, dropout=0.5, bn_groups=8)
  if variant == "r101_8x8":
    c.data.audio.mels = 40
  if variant.endswith("r101_8x8"):
    c.data.jitter = (256, 340)
  if variant == "sound":
    c.data.audio.seconds = 64 / 30
  return c
