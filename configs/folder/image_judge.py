"""A network that tells whether two images show the same object, for the identity score of `vidx eval --judges`.

vidx convert torchvision resnet50.pth runs/resnet_50 --model=resnet_50
vidx data triplets --root=FOLDER count=100000
vidx data triplets --root=FOLDER --split=val count=5000 balance=False
vidx train --config=configs/folder/image_judge.py --config.data.root=FOLDER --runs=runs --workdir=runs/identity
vidx eval --workdir=runs/cars --judges=identity=runs/identity

FOLDER has crops of the object, clips/{train,val}/CLIP/FRAME.jpg. Behind the colon: from ImageNet's weights; or from
scratch, small, as for Toybox `turntable`.
"""

from vidx.train import config

VARIANTS = ("imagenet", "small")


def get_config(variant="imagenet"):
  c = config.base()
  small = variant == "small"
  c.system = dict(name="image_embedding", trunk="resnet_18" if small else "resnet_50")
  c.task = dict(name="affinity", margin=0.3)
  c.data.update(dataset=dict(name="triplets", draws=4800 if small else 100_000), frames=3, crop=64 if small else 128,
                scales=(0.9, 1.1), colour_jitter=0.0 if small else 0.2, flip=True)
  c.optimizer.update(name="sgd", momentum=0.9, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=1e-2 if small else 1e-3, epochs=2.0 if small else 1.0)
  c.train.batch_size = 16
  c.eval.update(batch_size=16, every_epochs=0.5)
  if small:
    c.system.update(stages=(1, 1, 1, 1), width=16)
  else:
    c.train.init_from = (("/trunk/", f"{config.RUNS}/resnet_50"),)
  return c
