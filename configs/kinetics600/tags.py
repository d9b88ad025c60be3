"""3D-ResNet18 on the videos of Kinetics-600 that HVU has tagged: its classes alone, or with five kinds of tags beside.

The word behind the colon: tags (a head for the 600 classes and one for every other category of HVU), or action
(the classes alone). Both are evaluated on the classes (table 5.8).

vidx train --config=configs/kinetics600/tags.py --config.data.root=... --workdir=...
Below the root lie the files of HVU and kinetics600_train.csv and kinetics600_val.csv; clips as HVU names them.
Published: 65.6 top-1 with the classes alone, 68.8 with all; ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("tags", "action")


def get_config(labels="tags"):
  c = config.base()
  tags = labels == "tags"
  c.system = dict(name="r3d_18")
  c.task = dict(name="tags_and_class", heads=True, by_category=True) if tags else dict(name="classification")
  c.data.update(dataset=dict(name="hvu", kinetics="kinetics600_{split}.csv", only_class=not tags,
                             categories=("attribute", "concept", "event", "object", "scene")),
                frames=16, sampler="stride", stride=2, short_side=128, crop=112,
                mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.schedule.update(name="plateau", peak=0.1, reference_batch=128, epochs=100.0)
  c.train.batch_size = 128
  return c
