"""A network that tells the azimuth of a car, for the pose score of `vidx eval --judges`: EPFL's Multi-View Car Dataset.

vidx data crops --root=epfl-gims08/tripod-seq --out=crops/epfl source=epfl_cars
vidx convert torchvision resnet50.pth runs/resnet_50 --model=resnet_50
vidx train --config=configs/epfl_cars/pose_judge.py --config.data.root=crops/epfl --runs=runs --workdir=runs/pose
vidx eval --workdir=runs/car --judges=pose=runs/pose

16 azimuths; the first ten of the twenty sequences to learn from. Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="tsn", trunk="resnet_50", num_classes=16)
  c.data.update(dataset=dict(name="folder"), frames=1, sampler="uniform", short_side=128, crop=112,
                crop_mode="random", flip=False, colour_jitter=0.2)
  c.optimizer.update(name="sgd", momentum=0.9, weight_decay=1e-4)
  c.schedule.update(name="cosine", peak=1e-3, epochs=30.0)
  c.train.update(batch_size=32, init_from=(("^(?!params/head/)", f"{config.RUNS}/resnet_50"),))
  c.eval.every_epochs = 5.0
  return c
