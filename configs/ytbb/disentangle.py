"""Identity of one car, bus or truck in the pose of another, from clips of YouTube-BoundingBoxes.

vidx data crops --root=FOLDER --out=crops/car name=car
vidx convert torchvision vgg16.pth runs/vgg16 --model=vgg16
vidx convert torchvision vgg19.pth runs/vgg19 --model=vgg19
vidx data triplets --root=crops/car --workdir=runs/vgg16 count=100000
vidx data triplets --root=crops/car --split=val --workdir=runs/vgg16 count=5000 balance=False
vidx train --config=configs/ytbb/disentangle.py --config.data.root=crops/car --runs=runs --workdir=runs/car
vidx eval --workdir=runs/car --judges=lpips=runs/alexnet:alex.pth,fid=runs/inception_v3,identity=runs/identity

FOLDER has the csv files as published, and videos/YOUTUBE_ID.mp4. Behind the colon: car, bus or truck, which differ in
their training clips (2233, 3008, 1833 as published; set system.clips to those that you have); and of each, as
car_no_verify, the ablations, without verified pixels, without reconstruction too, with critics of patches, and the
baselines pix2pixHD, pix2pixHD of one-hot clusters of poses (car_one_hot: "does not work as well"), DrNet and
FusionImage. Published for cars, LPIPS / FID / identity / pose: 0.33 / 18.57 / 0.63 /
0.65; pix2pixHD 0.36 / 28.99 / 0.60 / 0.64; FusionImage 0.50 / 238.57 / 0.52 / 0.57; DrNet 0.48 / 24.45 / 0.52 / 0.69;
without verified pixels 0.34 / 18.92 / 0.63 / 0.65. Buses 0.37 / 16.67 / 0.63, trucks 0.35 / 25.25 / 0.62. Ours: not yet
measured. All else is as in configs/folder/disentangle.py.
"""

from vidx.train import config

CLIPS = {"car": 2233, "bus": 3008, "truck": 1833}
ROWS = ("no_verify", "no_reconstruct", "patches", "pix2pixhd", "one_hot", "drnet", "fusion_image")
VARIANTS = (*CLIPS, *(f"{kind}_{row}" for kind in CLIPS for row in ROWS))


def get_config(variant="car"):
  kind, _, word = variant.partition("_")
  c = config.load_file(f"configs/folder/disentangle.py:{word or 'full'}")
  if c.system.name == "disentangle":
    c.system.clips = CLIPS[kind]
  return c
