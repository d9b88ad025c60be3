"""Busy-Quiet Net with the public code's recipe, 8 segments of 3 frames, Something-Something V1: no flips.

vidx train --config=configs/ssv1/bqn_public.py --config.data.root=... \\
  --config.train.init_from=IMAGENET_WEIGHTS --workdir=...
Next to configs/ssv1/bqn.py: Quiet sees the first of every three frames, smoothed labels, a warm-up from a tenth,
clipped gradients, and rates and decay by kind of parameter, those of the stem and of what makes the motion
among them. Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="bqn", num_classes=174, dropout=0.8, quiet_input="first_frame")
  c.task = dict(name="classification", label_smoothing=0.1)
  c.data.update(dataset=dict(name="ssv1"), frames=8, consecutive=3, sampler="uniform", short_side=256, crop=256,
                flip=False)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=8e-4, clip_norm=20.0, groups=(
      (r"head/fc/kernel$", 5.0, 0.0), (r"head/fc/bias$", 10.0, 0.0), (r"norm\d*/(scale|bias)$", 1.0, 0.0),
      (r"bias$", 2.0, 0.0), (r"^band_pass/", 5.0, 1.0), (r"stem/conv/conv/kernel$", 5.0, 1.0)))
  c.schedule.update(name="cosine", peak=0.12, reference_batch=256, epochs=50.0, warmup_epochs=7.0, warmup_from=0.1)
  c.train.batch_size = 256
  c.train.init_exclude = ("head",)
  return c
