"""3D networks that start from a network of images, UCF101: by matching frames and clips, or by inflated kernels.

Stages, each its own run; {runs}/resnet_50 and {runs}/resnet_101 hold weights of images, as `vidx convert` writes them:

vidx train --config=configs/ucf101/stc_transfer.py:match --config.data.root=UNLABELLED --runs=runs --workdir=runs/match
vidx train --config=configs/ucf101/stc_transfer.py:tuned --config.data.root=... --runs=runs --workdir=runs/ucf101_tuned

UNLABELLED is any folder of videos, as many as there are: published with 500,000. The plain trunk has the stages
match_plain and tuned_plain; inflated starts it from the kernels of ResNet-101.
Published over three splits: tuned_plain 91.3 and tuned 92.6, inflated 90.4, where configs/ucf101/stc.py gives
88.9 (resnet101_16) and 90.1 (stc_resnet101_16). Ours: not yet measured.
"""

from vidx.train import config

NETS = {"": dict(name="stc", trunk="resnet3d_101", frames=16), "_plain": dict(name="resnet3d_101", zero_init=False)}

VARIANTS = ("match", "match_plain", "tuned", "tuned_plain", "inflated")


def get_config(stage="match"):
  kind, net = {k + end: (k, end) for k in ("match", "tuned") for end in NETS}.get(stage) or {
      "inflated": ("inflated", "_plain")}[stage]
  c = config.base()
  system = dict(NETS[net])
  c.data.update(frames=16, sampler="stride", stride=2, short_side=122, only_enlarge=True, crop=112,
                crop_mode="corners")
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  if kind == "match":
    c.system = dict(name="transfer", teacher="resnet_50", student=system.pop("name"), student_fields=system)
    c.task = dict(name="matching")
    c.data.update(dataset=dict(name="videos"), crop_mode="random")
    c.schedule.update(name="step", peak=0.1, epochs=150.0, milestones=(30.0, 60.0, 90.0, 120.0))
    c.train.update(batch_size=32, init_from=(("/teacher/", f"{config.RUNS}/resnet_50"),))
    return c
  c.system = dict(system, num_classes=101)
  c.data.dataset = dict(name="ucf101", fold=1)
  c.optimizer.groups = (("head/", 10.0, 1.0),)
  c.schedule.update(name="plateau", monitor="loss", peak=1e-3, patience=10, epochs=50.0)
  source = ("", f"{config.RUNS}/resnet_101") if kind == "inflated" else ("", f"{config.RUNS}/match{net}", "student")
  c.train.update(batch_size=128, init_from=(source,), init_exclude=("head",))
  return c
