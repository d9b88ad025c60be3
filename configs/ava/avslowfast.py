"""AVSlowFast and SlowFast on AVA, what people in boxes do, tuned from a run on Kinetics-400.

vidx train --config=configs/ava/avslowfast.py:r50 --config.data.root=... --config.train.init_from=KINETICS --workdir=...
vidx eval --workdir=... --config.data.whole='()' --config.data.jitter='()' \
  --config.data.sizes='((256, 256), (256, 342), (256, 456), (256, 616))'

The word behind the colon: r50 (4x16) and r101 (8x8 with non-local operations) with sound; sight_r50 and sight_r101
without. For AVA 2.1 add --config.data.dataset.version=v2.1. Runs on Kinetics are those of the words r50_4x16,
r101_8x8, sight_r50_4x16 and sight_r101_8x8 of configs/kinetics/avslowfast.py, with data.audio.mels=40. While training,
whole frames are brought to 256 x 320, whatever their shape; the second command keeps it.
Published mAP, v2.1 / v2.2: r50 25.4 / 25.9, r101 27.8 / 28.6, sight_r50 24.3 / 24.7, sight_r101 26.3 / 27.4. Ours: not
yet measured.
"""

from vidx.train import config

NETS = {"r50": "avslowfast_ava", "r101": "avslowfast_ava_r101", "sight_r50": "slowfast_ava",
        "sight_r101": "slowfast_ava_r101"}
VARIANTS = tuple(NETS)


def get_config(variant="r50"):
  c = config.base()
  c.system = dict(name=NETS[variant], num_classes=80, dropout=0.5)
  c.task = dict(name="box_actions")
  c.data.update(dataset=dict(name="ava"), frames=32, rate=30.0, sampler="centre", stride=2, short_side=256, crop=224,
                jitter=(256, 340) if "r101" in variant else (256, 320), crop_mode="random", whole=(256, 320),
                mean=(0.45,) * 3, std=(0.225,) * 3)
  c.data.boxes.update(frames="middle", rois=32, train_rois="truth")
  c.data.audio.mels = 40
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-7)
  epochs = 52_000 * 256 / 184_000  # iterations of 256 of the key frames with people
  c.schedule.update(name="step", peak=0.4, reference_batch=256, epochs=epochs, warmup_epochs=5.0, warmup_from=2.5e-4,
                    milestones=(epochs / 2, epochs * 3 / 4))
  c.train.update(batch_size=64, init_exclude=("head",))
  return c
