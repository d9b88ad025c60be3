"""HATNet, 16 frames of 112 x 112, stride 2, HVU, from scratch.

The word behind the colon names the net: 18 (tables 5.5 and 5.6), stc_18 (its 3D branch an STC-Net), 50, or with 32
frames 18_32 and 50_32 (table 5.9), and `_multi_task` behind it for a head per category.

vidx train --config=configs/hvu/hatnet.py:18_multi_task --config.data.root=... --workdir=...
Published mAP (scene, object, action, event, attribute, concept, overall): 55.8, 34.2, 51.8, 38.5, 33.6, 26.1, 40.0;
multi-task 57.2, 35.1, 53.5, 39.8, 34.9, 27.3, 41.3. TSN ResNet-18 from ImageNet (configs/hvu/tsn.py) has 52.6 with a
model per category. Ours: not yet measured.
From trained branches: --config.system.mr_init=select --config.schedule.peak=0.01 --config.train.init_from=..., the 2D
branch from ImageNet, the 3D branch from Kinetics.
"""

from vidx.train import config

KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NETS = {"18": ("hatnet_18", 16), "stc_18": ("hatnet_stc_18", 16), "50": ("hatnet_50", 16), "18_32": ("hatnet_18", 32),
        "50_32": ("hatnet_50", 32)}

VARIANTS = (*NETS, *(f"{net}_multi_task" for net in NETS))


def get_config(variant="18"):
  c = config.base()
  heads = variant.endswith("_multi_task")
  name, frames = NETS[variant.removesuffix("_multi_task")]
  c.system = dict(name=name, clip_norm=KINETICS, appearance_norm=IMAGENET)
  c.task = dict(name="multilabel", heads=heads, by_category=heads)
  c.data.update(dataset=dict(name="hvu"), frames=frames, sampler="stride", stride=2, short_side=128, crop=112,
                mean=KINETICS[0], std=KINETICS[1])
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4, clip_norm=40.0)
  c.schedule.update(name="plateau", peak=0.1, reference_batch=128, epochs=100.0)
  c.train.batch_size = 128
  return c
