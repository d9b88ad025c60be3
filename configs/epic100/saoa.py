"""SAOA on EPIC-KITCHENS-100, which the thesis does not report: the recipe of configs/epic55/saoa.py on its classes.

vidx data detections --root=DETECTIONS --out=DATA/detections
vidx train --config=configs/epic100/saoa.py:verb --config.data.root=DATA --config.train.init_from=KINETICS \\
  --workdir=runs/epic100_verb
vidx train --config=configs/epic100/saoa.py:noun ... --workdir=runs/epic100_noun
vidx train --config=configs/epic100/saoa.py --config.data.root=DATA --runs=runs --workdir=runs/epic100_saoa

With --config.data.cache={runs}/epic100_cache the last stage decodes every clip once.
The word behind the colon: verb, noun, saoa, sap. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("saoa", "sap", "verb", "noun")


def get_config(stage="saoa"):
  counts = dict(verb=97, noun=300)
  c = config.base()
  c.data.update(dataset=dict(name="epic100"), frames=64, rate=30.0, sampler="centre", crop_mode="random",
                short_side=256, jitter=(224, 288), crop=224, flip=False)
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=False, weight_decay=1e-4)
  c.train.batch_size = 32
  c.eval.batch_size = 8
  if stage in counts:
    c.system = dict(name="gap", trunk="resnet3d_50", num_classes={stage: counts[stage]})
    c.task = dict(name="verb_noun", only=stage)
    c.schedule.update(name="step", peak=0.003, epochs=35.0, milestones=(30.0,))
    return c
  c.system = dict(name={"saoa": "saoa", "sap": "sap"}[stage], num_classes=counts)
  c.task = dict(name="verb_noun")
  c.data.update(whole=(256, 256), crop_mode="whole", jitter=())
  c.train.init_from = tuple((f"/{name}_net/", f"{config.RUNS}/epic100_{name}", "trunk") for name in counts)
  c.schedule.update(name="constant", peak=1e-4, epochs=15.0)
  return c
