"""SCT on Hollywood Extended, learned from the sets of actions of its training videos.

vidx train --config=configs/hollywood/sct.py --config.data.root=... --workdir=...
Split files beside the features are read where there are any (--config.data.dataset.fold=N); without them there are
ten folds by the last digit of the names.
From the released code and not the thesis: the weight of the background (system.background_weight=1.0 for the losses
as written), a dropout of 0.05 of the features, and dropout inside the branches (system.dropout_after_residual=True for
after the sum).
Published: Jaccard index 17.7; ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="sct", num_classes=17, background_weight=0.001)
  c.task = dict(name="segmentation", background=(0,), average="video")
  c.data.update(dataset=dict(name="nn_viterbi", fold=1), feature_size=2048, full_share=0.0, workers=0)
  c.optimizer.update(name="sgd", momentum=0.0, weight_decay=0.005, no_decay="", clip_norm=10.0)
  c.schedule.update(name="step", peak=0.01, epochs=120.0, milestones=(100.0,))
  c.train.batch_size = 1
  c.eval.update(batch_size=1, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
