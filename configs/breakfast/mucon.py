"""MuCon on Breakfast, learned from transcripts, or with the word full from all frame labels; two-stream I3D features.

With the word public it is the model of the released code, whose loss is a mean over segments, at the same rates.

vidx train --config=configs/breakfast/mucon.py --config.data.root=... --workdir=...
vidx train --config=configs/breakfast/mucon.py:full ...
Split 1; --config.data.dataset.fold=2 to 4 are the others, and the published figures are means of all four.
--config.train.seeds=5 trains five seeds at once; --config.data.full_share=0.1 shows the frame labels of a tenth
of the videos (with --config.schedule.epochs=110, as published), drawn anew for every --config.seed.
Published: MoF 48.5, matching score 78.5 (split 1, mean of five seeds: 49.0, 77.4);
with all labels F1 73.2, 66.1, 48.4, edit 76.3, MoF 62.8; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("weak", "full", "public")


def get_config(which: str = "weak"):
  c = config.base()
  c.system = dict(name="mucon_public" if which == "public" else "mucon", num_classes=48)
  c.task = dict(name="segmentation", background="SIL")
  c.data.update(dataset=dict(name="mucon", fold=1), feature_size=2048, full_share=float(which == "full"), workers=0)
  c.optimizer.update(name="sgd", momentum=0.0, weight_decay=0.005, no_decay="", clip_norm=100.0,
                     clip_groups=(("^(trunk|encoder|to_state|to_cell)/", 100.0),))
  c.schedule.update(name="step", peak=0.01, epochs=110.0 if which == "full" else 150.0, milestones=(70.0,))
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
