"""3D-ResNet, 16 frames of 112 x 112, stride 2, HVU, from scratch: the baseline of HATNet.

The word behind the colon names the net: 18, 50, stc_18 (3D-STCNet), and `_multi_task` behind it for a head per category
(tables 5.5 and 5.6). Tags made by machines (table 5.4) are other files of the same form:
--config.data.dataset.tags=FILE --config.data.dataset.file=FILE_{split}.csv

vidx train --config=configs/hvu/r3d.py:18_multi_task --config.data.root=... --workdir=...
Published overall mAP: 3D-ResNet18 35.8, multi-task 37.0, 3D-STCNet18 36.7; tags made by machines 31.6 where those that
people checked give 35.4. Ours: not yet measured.
"""

from vidx.train import config

NETS = {"18": dict(name="r3d_18"), "50": dict(name="r3d_50"), "stc_18": dict(name="stc", trunk="r3d_18")}

VARIANTS = (*NETS, *(f"{net}_multi_task" for net in NETS))


def get_config(variant="18"):
  c = config.base()
  heads = variant.endswith("_multi_task")
  c.system = NETS[variant.removesuffix("_multi_task")]
  c.task = dict(name="multilabel", heads=heads, by_category=heads)
  c.data.update(dataset=dict(name="hvu"), frames=16, sampler="stride", stride=2, short_side=128, crop=112,
                mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4, clip_norm=40.0)
  c.schedule.update(name="plateau", peak=0.1, reference_batch=128, epochs=100.0)
  c.train.batch_size = 128
  return c
