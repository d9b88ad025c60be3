"""STC-Nets and their plain trunks from scratch, Kinetics-400.

vidx train --config=configs/kinetics/stc.py --config.data.root=... --workdir=runs/kinetics_stc_resnet101_16
vidx eval --workdir=... --views=allx1 --config.data.sampler=non_overlapping  (all clips that follow one another)

The word behind the colon names the net: configs/kinetics/stc.py:stc_resnext101_32.
Published top-1 / top-5: densenet121_16 59.5, resnet101_16 62.8 / 83.9, resnext101_16 65.1 / 85.7,
stc_resnet101_16 64.1 / 85.2, stc_resnext101_16 66.2 / 86.5, stc_resnext101_32 68.7 / 88.5;
c3d_16 55.6 (after Sports-1M), inception_64 58.9; stc_resnet101_32, stc_resnet101_64 and stc_resnext101_64
are what UCF101 and HMDB51 start from. Ours: not yet measured.
"""

from vidx.train import config

TRUNKS = {"resnet18": "resnet3d_18", "resnet50": "resnet3d_50", "resnet101": "resnet3d_101",
          "resnext101": "resnext3d_101", "densenet121": "densenet3d_121", "inception": "i3d", "c3d": "c3d"}

VARIANTS = ("stc_resnet101_16", "stc_resnet101_32", "stc_resnet101_64", "stc_resnext101_16", "stc_resnext101_32",
            "stc_resnext101_64", "resnet101_16", "resnext101_16", "densenet121_16", "c3d_16", "inception_64")


def get_config(net="stc_resnet101_16"):
  name, frames = net.rsplit("_", 1)
  stc = name.startswith("stc_")
  trunk = {"stc_" * stc + k: v for k, v in TRUNKS.items()}[name]
  c = config.base()
  if stc:
    c.system = dict(name="stc", trunk=trunk, frames=int(frames), num_classes=400)
  else:
    c.system = dict(name=trunk, num_classes=400, **(dict(zero_init=False) if "res" in trunk else {}))
  c.data.update(dataset=dict(name="kinetics"), frames=int(frames), sampler="stride", stride=2, short_side=122,
                only_enlarge=True, crop=112, crop_mode="corners", mean=(0.4345, 0.4051, 0.3775),
                std=(0.2768, 0.2713, 0.2737))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.schedule.update(name="plateau", monitor="loss", peak=0.1, patience=10, epochs=200.0)
  c.train.batch_size = 128
  return c
