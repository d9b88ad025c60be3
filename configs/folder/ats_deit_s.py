"""DeiT-S with adaptive token sampling on the frames of any folder of videos, fine-tuned from converted weights.

vidx convert --model=ats_deit_s --source=timm WEIGHTS --out=runs/deit_s
vidx train --config=configs/folder/ats_deit_s.py --config.data.root=FOLDER \\
  --config.train.init_from=runs/deit_s --workdir=runs/mine

FOLDER is as for configs/folder/tsm.py. The recipe is the published one for images;
the weights also do without it. After training, --config.system.keep=0.72 and less
spends less per frame.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="ats_deit_s", keep=1.0)
  c.data.update(frames=8, sampler="uniform", short_side=256, crop=224)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=5e-4, reference_batch=768, epochs=30.0)
  c.train.update(batch_size=16, mixup=0.8, cutmix=1.0, init_exclude=("head",))
  return c
