"""The loss of CDFL, Li et al. 2019, on Breakfast: segmentations near an aligned one, against hard others.

vidx train --config=configs/breakfast/forward_loss.py --config.data.root=... --workdir=...
vidx eval --workdir=... --config.system.align=True aligns the transcripts of the test videos in place of labelling them.
Window, step and grid are those of the authors' release. Theirs is a GRU of 64 channels on windows of 21 frames, trained
by SGD for 100,000 videos, whose test videos have a transcript of training; here it is one stage of MS-TCN, and any
class may follow any other. --config.system.contrast=none and all leave the others out, or take all labellings.
Training is as in configs/breakfast/soft_boundaries.py.
Published: MoF 50.2, IoD of the alignment 63.9; run again beside MuCon: 48.1.
Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.load_file("configs/breakfast/soft_boundaries.py")
  c.system = dict(name="forward_loss", num_classes=48, window=10, step=5, grid=30)
  return c
