"""IPL on EGTEA Gaze+: verbs and nouns, scored by the mean accuracy over the 106 actions, the mean of three splits.

vidx train --config=configs/egtea/ipl.py --config.data.root=... --config.train.init_from=KINETICS --workdir=runs/egtea
vidx eval --workdir=runs/egtea --views=10x1

The word behind the colon: ipl, gap (the joint I3D baseline); --config.data.dataset.fold=2 and 3 are the other splits.
Published, mean class accuracy (`action/mean class`) of splits 1 / 2 / 3: ipl 60.15 / 59.03 / 57.98, gap
55.76 / 53.14 / 53.55 (Table 4.4). Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("ipl", "gap")


def get_config(system="ipl"):
  c = config.base()
  c.system = dict(name={"ipl": "ipl", "gap": "gap"}[system], trunk="i3d", num_classes=dict(verb=19, noun=51))
  c.task = dict(name="verb_noun", prior="known")
  c.data.update(dataset=dict(name="egtea", fold=1), frames=64, sampler="uniform_clips", whole=(256, 256),
                crop_mode="random", jitter=(224, 288), crop=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=False, weight_decay=5e-4)
  c.schedule.update(name="step", peak=0.006, epochs=30.0, milestones=(20.0,))
  c.train.update(batch_size=32, init_exclude=("verb/", "noun/") if system == "gap" else ("head",))
  c.eval.batch_size = 8
  return c
