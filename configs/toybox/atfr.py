"""Small I3D with similarity guided sampling on Toybox `redundant`: clips of which some hardly change.

vidx data toybox --out=runs/toybox/redundant --labels=redundant
vidx train --config=configs/toybox/atfr.py --workdir=runs/dense
vidx train --config=configs/toybox/atfr.py:tuned --workdir=runs/atfr
vidx eval --workdir=runs/atfr
Here the sampler goes into a trained network; the thesis trains with it from the first step on. For comparison:
--config.system.control=uniform --config.system.keep=2, or random.
Ours: 78.1 % of the validation videos without the sampler; tuned with it 70.0 %, with 4.2 of 8 frames left and 0.147 of
0.170 GMACs (13.4 % are saved). At 5 ms per clip regrouping costs what that gains: 203 against 213 clips/s. With the
sampler from the first step on: 35.6 %, perhaps because it takes frames of one motion for alike.
"""

from vidx.train import config

VARIANTS = ("dense", "tuned")


def get_config(stage="dense"):
  tuned = {"dense": False, "tuned": True}[stage]
  c = config.base()
  c.system = dict(name="atfr_i3d_r50", block="basic", stages=(1, 1, 1), width=24, temporal=(1, 3, 3), zero_init=False,
                  order="time", dropout=0.0, control="" if tuned else "none")
  c.data.update(root="runs/toybox/redundant", dataset=dict(name="folder"), frames=8, sampler="uniform",
                short_side=64, crop=56, crop_mode="random", flip=False, workers=0)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=5e-4 if tuned else 2e-3, warmup_epochs=1.0, epochs=5.0 if tuned else 11.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=3.0)
  c.checkpoint.every_epochs = 3.0
  c.train.init_from = ("runs/dense",) if tuned else ()
  return c
