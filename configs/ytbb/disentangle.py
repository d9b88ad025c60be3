"""Identity of one car, bus or truck in the pose of another, from clips of YouTube-BoundingBoxes.

vidx data crops --root=FOLDER --out=crops/car name=car
vidx convert torchvision vgg16.pth runs/vgg16 --model=vgg16
vidx convert torchvision vgg19.pth runs/vgg19 --model=vgg19
vidx data triplets --root=crops/car --workdir=runs/vgg16 count=100000
vidx data triplets --root=crops/car --split=val --workdir=runs/vgg16 count=5000 balance=False
vidx train --config=configs/ytbb/disentangle.py --config.data.root=crops/car --runs=runs --workdir=runs/car
vidx eval --workdir=runs/car --judges=lpips=runs/alexnet:alex.pth,fid=runs/inception_v3,identity=runs/identity

FOLDER has the csv files as published, and videos/YOUTUBE_ID.mp4. Behind the colon: car, bus or truck, which differ in
their training clips (2233, 3008, 1833 as published; set system.clips to those that you have); and for cars the
ablations, without verified pixels, without reconstruction too, with critics of patches, and the baselines pix2pixHD,
DrNet and FusionImage. Published for cars, LPIPS / FID / identity / pose: 0.33 / 18.57 / 0.63 / 0.65; pix2pixHD 0.36 /
28.99 / 0.60 / 0.64; FusionImage 0.50 / 238.57 / 0.52 / 0.57; DrNet 0.48 / 24.45 / 0.52 / 0.69; without verified pixels
0.34 / 18.92 / 0.63 / 0.65. Buses 0.37 / 16.67 / 0.63, trucks 0.35 / 25.25 / 0.62. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("car", "bus", "truck", "car_no_verify", "car_no_reconstruct", "car_patches", "car_pix2pixhd", "car_drnet",
            "car_fusion_image")
CLIPS = {"car": 2233, "bus": 3008, "truck": 1833}
LESS = {"": {}, "no_verify": dict(verify=False), "no_reconstruct": dict(verify=False, reconstruct=False),
        "patches": dict(patches=True)}
WEIGHTS = {"pix2pixhd": {"target": 10.0, "features": 10.0}, "drnet": {"confusion": 0.1}}


def get_config(variant="car"):
  c = config.base()
  kind, _, word = variant.partition("_")
  c.system = dict(name="disentangle", clips=CLIPS[kind], **LESS[word]) if word in LESS else dict(name=word)
  c.task = dict(name="generation", **({"weights": WEIGHTS[word]} if word in WEIGHTS else {}))
  c.data.update(dataset=dict(name="triplets", draws=100_000), frames=3, crop=128, scales=(0.9, 1.1), colour_jitter=0.2,
                flip=False, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="adamw", b1=0.5, b2=0.999, weight_decay=0.0, ema=0.999)
  c.schedule.update(name="linear", peak=1e-4, hold=0.5, epochs=32.0)
  c.train.batch_size = 16
  c.eval.update(batch_size=16, every_epochs=4.0)
  c.checkpoint.every_epochs = 1.0
  if word in LESS or word == "pix2pixhd":  # images are compared in features of VGG-19
    c.optimizer.frozen = ("^perception/",)
    c.train.init_from = (("/perception/", f"{config.RUNS}/vgg19"),)
  return c
