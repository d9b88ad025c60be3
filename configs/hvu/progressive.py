"""3D-ResNet18 on HVU with categories of tags added one by one: action, then object, then scene (section 5.4.5).

Each stage starts from the one before it; `--runs` names the folder of all.

vidx train --config=configs/hvu/progressive.py:action --config.data.root=... --workdir=RUNS/action
vidx train --config=configs/hvu/progressive.py:object --config.data.root=... --runs=RUNS --workdir=RUNS/object
vidx train --config=configs/hvu/progressive.py:scene --config.data.root=... --runs=RUNS --workdir=RUNS/scene
Published for action: 43.6, 44.5, 45.6; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("action", "object", "scene")


def get_config(stage="action"):
  c = config.base()
  at = VARIANTS.index(stage)
  c.system = dict(name="r3d_18")
  c.task = dict(name="multilabel", heads=True, by_category=True)
  c.data.update(dataset=dict(name="hvu", categories=VARIANTS[:at + 1]), frames=16, sampler="stride", stride=2,
                short_side=128, crop=112, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4, clip_norm=40.0)
  c.schedule.update(name="plateau", peak=0.01 if at else 0.1, reference_batch=128, epochs=50.0)
  c.train.batch_size = 128
  if at:
    c.train.init_from = (("", f"{config.RUNS}/{VARIANTS[at - 1]}"),)
  return c
