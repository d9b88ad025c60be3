"""Identity of one turning box in the pose of another, learned without labels from Toybox `turntable`.

vidx data toybox --out=runs/toybox/turntable --labels=turntable
vidx data triplets --root=runs/toybox/turntable count=4800
vidx data triplets --root=runs/toybox/turntable --split=val count=480 balance=False
vidx train --config=configs/toybox/disentangle.py --workdir=runs/toybox_disentangle
vidx eval --workdir=runs/toybox_disentangle
vidx generate --workdir=runs/toybox_disentangle --identities=runs/toybox/turntable/clips/val/toyval00000 \
  --poses=runs/toybox/turntable/clips/val/toyval00001 --out=made

Behind the colon: the method; without verified pixels, and without reconstruction too; with critics of patches; with an
encoder of poses that keeps what normalisation removes; and the baselines pix2pixHD, the same of the one-hot cluster of
the pose in place of its image, DrNet and FusionImage. Images are compared by their colours, so that no weights are
needed.
"""

from vidx.train import config

VARIANTS = ("full", "no_verify", "no_reconstruct", "patches", "no_norm", "pix2pixhd", "one_hot", "drnet",
            "fusion_image")
LESS = {"full": {}, "no_verify": dict(verify=False), "no_reconstruct": dict(verify=False, reconstruct=False),
        "patches": dict(patches=True), "no_norm": dict(pose_norm=False)}
FIELDS = {"pix2pixhd": dict(name="pix2pixhd", critic_width=16, distance="l1"),
          "one_hot": dict(name="pix2pixhd", critic_width=16, distance="l1", poses=20),
          "drnet": dict(name="drnet", critic_width=64), "fusion_image": dict(name="fusion_image", critic_width=16)}
L1 = 10.0  # of differences of colours, which are smaller than those of features
HD = {"target": L1, "features": L1}
WEIGHTS = {"pix2pixhd": HD, "one_hot": HD, "drnet": {"again": L1, "confusion": 0.1},
           "fusion_image": {"cycle": L1, "again": L1}}


def get_config(variant="full"):
  c = config.base()
  small = dict(width=16, downs=3, blocks=2)
  if variant in LESS:
    c.system = dict(name="disentangle", clips=200, critic_width=16, distance="l1", pvm_stride=4, **small,
                    **LESS[variant])
  else:
    c.system = dict(**small, **FIELDS[variant])
  c.task = dict(name="generation", weights=WEIGHTS.get(variant, {"target": L1, "again": L1}))
  c.data.update(root="runs/toybox/turntable", dataset=dict(name="triplets", draws=4800), frames=3, crop=64,
                scales=(0.95, 1.05), flip=False, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), workers=0)
  c.optimizer.update(name="adamw", b1=0.5, b2=0.999, weight_decay=0.0, ema=0.99)
  c.schedule.update(name="linear", peak=2e-4, hold=0.5, epochs=20.0)
  c.train.batch_size = 16
  c.eval.update(batch_size=16, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  return c
