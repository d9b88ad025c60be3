"""Identity of one image in the pose of another, learned from clips of one kind of object without labels.

vidx convert torchvision vgg19.pth runs/vgg19 --model=vgg19
vidx convert torchvision vgg16.pth runs/vgg16 --model=vgg16
vidx data triplets --root=FOLDER --workdir=runs/vgg16 count=100000
vidx data triplets --root=FOLDER --split=val --workdir=runs/vgg16 count=5000 balance=False
vidx train --config=configs/folder/disentangle.py --config.data.root=FOLDER --config.system.clips=N --runs=runs \
  --workdir=runs/disentangle
vidx generate --workdir=runs/disentangle --identities=FOLDER --poses=FOLDER --out=made

FOLDER has crops of the object, clips/{train,val}/CLIP/FRAME.jpg; N is the number of training clips. Behind the colon:
the method; with differences from images that count ten times, as in pix2pixHD; without verified pixels, and without
reconstruction too; with critics of patches; and the baselines pix2pixHD, the same of the one-hot cluster of the pose in
place of its image, DrNet and FusionImage. 200,000 steps at a batch of 16; triplets are drawn anew in each of 32 epochs.
"""

from vidx.train import config

VARIANTS = ("full", "dis10", "no_verify", "no_reconstruct", "patches", "pix2pixhd", "one_hot", "drnet", "fusion_image")
LESS = {"full": {}, "dis10": {}, "no_verify": dict(verify=False),
        "no_reconstruct": dict(verify=False, reconstruct=False), "patches": dict(patches=True)}
BASELINES = {"pix2pixhd": dict(name="pix2pixhd"), "one_hot": dict(name="pix2pixhd", poses=20),
             "drnet": dict(name="drnet"), "fusion_image": dict(name="fusion_image")}
HD = {"target": 10.0, "features": 10.0}
WEIGHTS = {"dis10": {"target": 10.0, "again": 10.0}, "pix2pixhd": HD, "one_hot": HD, "drnet": {"confusion": 0.1}}


def get_config(variant="full"):
  c = config.base()
  c.system = dict(name="disentangle", clips=2233, **LESS[variant]) if variant in LESS else BASELINES[variant]
  c.task = dict(name="generation", **({"weights": WEIGHTS[variant]} if variant in WEIGHTS else {}))
  c.data.update(dataset=dict(name="triplets", draws=100_000), frames=3, crop=128, scales=(0.9, 1.1), colour_jitter=0.2,
                flip=False, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="adamw", b1=0.5, b2=0.999, weight_decay=0.0, ema=0.999)
  c.schedule.update(name="linear", peak=1e-4, hold=0.5, epochs=32.0)
  c.train.batch_size = 16
  c.eval.update(batch_size=16, every_epochs=4.0)
  c.checkpoint.every_epochs = 1.0
  if variant in LESS or c.system.name == "pix2pixhd":  # images are compared in features of VGG-19
    c.train.init_from = (("/perception/", f"{config.RUNS}/vgg19"),)
  return c
