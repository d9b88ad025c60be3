"""STC-Nets and their plain trunks, UCF101, tuned from a Kinetics run or from scratch.

vidx train --config=configs/ucf101/stc.py --config.data.root=... --runs=runs --workdir=runs/ucf101_stc_resnet101_16
vidx eval --workdir=... --views=allx1 --config.data.sampler=non_overlapping  (all clips that follow one another)

The word behind the colon names the net, as in configs/kinetics/stc.py, whose run is {runs}/kinetics_NET.
Split 1; --config.data.dataset.fold=2 chooses another.
Published over three splits: resnet101_16 88.9, resnext101_16 90.7, inception_64 87.2, stc_resnet101_16 90.1,
stc_resnet101_32 93.2, stc_resnet101_64 93.7, stc_resnext101_16 92.3, stc_resnext101_32 95.8, stc_resnext101_64 96.5.
Published from scratch on split 1: resnet101_scratch 46.7, stc_resnet18_scratch 42.8, stc_resnet50_scratch 46.2,
stc_resnet101_scratch 47.9 (scb_scratch 46.1, tcb_scratch 47.2; stride1_scratch 44.6, stride4_scratch 46.8,
stride16_scratch 40.3). Ours: not yet measured.
"""

from vidx.train import config

TRUNKS = {"resnet18": "resnet3d_18", "resnet50": "resnet3d_50", "resnet101": "resnet3d_101",
          "resnext101": "resnext3d_101", "inception": "i3d"}
SCRATCH = {"scb": dict(branches="scb"), "tcb": dict(branches="tcb"), "stride1": {}, "stride4": {}, "stride16": {}}

VARIANTS = ("stc_resnet101_16", "stc_resnet101_32", "stc_resnet101_64", "stc_resnext101_16", "stc_resnext101_32",
            "stc_resnext101_64", "resnet101_16", "resnext101_16", "inception_64", "resnet101_scratch",
            "stc_resnet18_scratch", "stc_resnet50_scratch", "stc_resnet101_scratch",
            *(f"{name}_scratch" for name in SCRATCH))


def get_config(net="stc_resnet101_16"):
  name, end = net.rsplit("_", 1)
  scratch = end == "scratch"
  fields = SCRATCH.get(name, {})
  stride = int(name.removeprefix("stride")) if name.startswith("stride") else 2
  name = "stc_resnet101" if name in SCRATCH else name
  frames = 16 if scratch else int(end)
  stc = name.startswith("stc_")
  trunk = {"stc_" * stc + k: v for k, v in TRUNKS.items()}[name]
  c = config.base()
  if stc:
    c.system = dict(name="stc", trunk=trunk, frames=frames, num_classes=101, **fields)
  else:
    c.system = dict(name=trunk, num_classes=101, **(dict(zero_init=False) if "res" in trunk else {}))
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=frames, sampler="stride", stride=stride, short_side=122,
                only_enlarge=True, crop=112, crop_mode="corners", mean=(0.4345, 0.4051, 0.3775),
                std=(0.2768, 0.2713, 0.2737))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  c.schedule.update(name="plateau", monitor="loss", patience=10, peak=0.1, epochs=200.0)
  c.train.batch_size = 128
  if not scratch:
    c.optimizer.groups = (("head/", 10.0, 1.0),)
    c.schedule.update(peak=1e-3, epochs=50.0)
    c.train.update(init_from=(("", f"{config.RUNS}/kinetics_{net}"),), init_exclude=("head",))
  return c
