"""AVSlowFast 16x8 R101 with non-local operations on Charades, tuned from a run on Kinetics-400.

vidx train --config=configs/charades/avslowfast.py --config.data.root=... --config.train.init_from=KINETICS \\
  --workdir=...
vidx eval --workdir=... --views=10x3 --config.data.test_crop=256

The word sight stands for SlowFast, without sound. A clip is trained on the actions that happen in it. Scores of views
are joined by their maximum.
Published mAP (10x3 views): 43.7, without sound 42.5. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("both", "sight")


def get_config(variant="both"):
  c = config.base()
  name = {"both": "avslowfast_r101_16x8_nl", "sight": "slowfast_r101_16x8_nl"}[variant]
  c.system = dict(name=name, num_classes=157, dropout=0.7)
  c.task = dict(name="multilabel", views="max")
  c.data.update(dataset=dict(name="charades"), frames=64, sampler="stride", stride=2, short_side=256, crop=224,
                jitter=(256, 340), crop_mode="random", mean=(0.45,) * 3, std=(0.225,) * 3)
  c.data.clip_labels = True
  c.data.audio.update(rows=256, mels=40)
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.schedule.update(name="step", peak=0.0375, reference_batch=16, epochs=57.0, warmup_epochs=4.0, warmup_from=2.7e-3,
                    milestones=(41.0, 49.0))
  c.train.update(batch_size=16, init_exclude=("head",))
  return c
