"""Transformers of images with adaptive token sampling, ImageNet, fine-tuned from their converted weights.

The word behind the colon names the network: deit_s, cvt_13, cvt_21, the latter two of images of 384 x 384 as cvt_13_384
and cvt_21_384, psvit_b14, psvit_b18; evit, which keeps and fuses tokens by fixed rates, and ats_evit with samplers in
it. --config.system.name=deit_s and so on leaves the samplers out.

vidx convert --model=ats_deit_s --source=timm WEIGHTS --out=runs/deit_s
vidx train --config=configs/imagenet/ats.py --config.data.root=... --config.train.init_from=runs/deit_s --workdir=...
vidx eval --workdir=... --config.system.keep=0.72
The root has ImageNet's images in folders of classes; with --config.data.dataset.name=tfds it is what TensorFlow
Datasets prepared, imagenet2012/5.1.0 with --file_format=array_record.
Where the thesis takes the rest of a recipe from those of the networks, weight decay, mixup and cutmix are DeiT's here.
Published top-1, without sampling in brackets: deit_s 79.7 (79.8), cvt_13 81.4 (81.6), cvt_21 82.3 (82.5), cvt_13_384
82.9 (83.0), cvt_21_384 83.1 (83.3), psvit_b14 81.5 (81.7), psvit_b18 82.2 (82.3), ats_evit 79.5 (evit 79.5), with 100
epochs 79.8 (79.8). Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("deit_s", "cvt_13", "cvt_21", "cvt_13_384", "cvt_21_384", "psvit_b14", "psvit_b18", "evit", "ats_evit")


def get_config(net="deit_s"):
  c = config.base()
  name, large = net.removesuffix("_384"), net.endswith("_384")
  c.system = dict(name=name if "evit" in name else f"ats_{name}", num_classes=1000)
  c.data.update(dataset=dict(name="imagenet"), frames=1, sampler="uniform", short_side=438 if large else 256,
                crop=384 if large else 224)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=5e-4, reference_batch=768, epochs=30.0)
  c.train.update(batch_size=768, mixup=0.8, cutmix=1.0)
  if name.startswith("cvt"):
    c.schedule.update(peak=1.5e-6, reference_batch=128)
    c.train.batch_size = 128
  return c
