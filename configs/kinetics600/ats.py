"""XViT, 16 frames, with adaptive token sampling in blocks 3 to 11, fine-tuned from XViT's weights, Kinetics-600.

vidx train --config=configs/kinetics600/ats.py --config.data.root=... \\
  --config.train.init_from=XVIT_WEIGHTS --workdir=...
vidx eval --workdir=... --views=1x3
TimeSformer-HR is configs/kinetics/ats_timesformer_hr.py.
Published (1x3 views): 84.4 top-1, 83.4 without fine-tuning, and without sampling (--config.system.name=xvit_b16) 84.5;
ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.load_file("configs/kinetics/ats_xvit.py")
  c.system.num_classes = 600
  return c
