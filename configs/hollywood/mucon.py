"""MuCon on Hollywood Extended, learned from transcripts.

vidx train --config=configs/hollywood/mucon.py --config.data.root=... --workdir=...
Split files beside the features are read where there are any (--config.data.dataset.fold=N); without them there are
ten folds by the last digit of the names.
vidx eval --workdir=... --config.system.align=True aligns the transcripts of the test videos in place of decoding them.
Published: MoF without background 41.6; IoD of the alignment 52.3; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="mucon", num_classes=17, pools=(1, 2, 4), length_weight=1.0)
  c.task = dict(name="segmentation", background=(0,))
  c.data.update(dataset=dict(name="nn_viterbi", fold=1), feature_size=2048, full_share=0.0, workers=0)
  c.optimizer.update(name="sgd", momentum=0.0, weight_decay=0.005, no_decay="", clip_norm=100.0,
                     clip_groups=(("^(trunk|encoder|to_state|to_cell)/", 100.0),))
  c.schedule.update(name="step", peak=0.01, epochs=150.0, milestones=(60.0,))
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
