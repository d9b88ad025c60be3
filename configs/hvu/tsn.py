"""TSN ResNet-18, 8 segments of 224 x 224, HVU, from ImageNet: the baseline to beat, as mmaction2 trains it.

The word behind the colon is the one category whose tags are learned; all: six at once.

vidx train --config=configs/hvu/tsn.py:scene --config.data.root=... --config.train.init_from=IMAGENET_RUN --workdir=...
Published (mmaction2, a model per category): scene 55.2, object 45.7, action 57.5, event 63.7, attribute 46.1,
concept 47.5, mean 52.6. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("all", "action", "attribute", "concept", "event", "object", "scene")


def get_config(category="all"):
  c = config.base()
  chosen = () if category == "all" else (category,)
  c.system = dict(name="tsn", trunk="resnet_18", dropout=0.4)
  c.task = dict(name="multilabel")
  c.data.update(dataset=dict(name="hvu", categories=chosen), frames=8, sampler="segments", short_side=256, crop=224)
  c.optimizer.update(name="sgd", nesterov=False, weight_decay=1e-4, clip_norm=40.0)
  c.schedule.update(name="step", peak=0.01, reference_batch=256, epochs=100.0, milestones=(40.0, 80.0))
  c.train.batch_size = 256
  c.train.init_exclude = ("head",)
  return c
