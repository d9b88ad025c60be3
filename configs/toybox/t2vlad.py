"""Small T2VLAD on Toybox `sentences`.

vidx data toybox --out=runs/toybox/sentences --labels=sentences
vidx train --config=configs/toybox/t2vlad.py --workdir=runs/toybox_t2vlad
vidx predict --workdir=runs/toybox_t2vlad --text="a red circle moves left" --show=ranked runs/toybox/sentences/videos

Behind the colon: shared or separate centres, or what they are compared with: mee, ce or mmt.
"""

from vidx.train import config

VARIANTS = ("shared", "separate", "mee", "ce", "mmt")


def get_config(variant="shared"):
  c = config.base()
  name = variant if variant in ("mee", "ce", "mmt") else "t2vlad"
  c.system = dict(name=name, experts=("objects", "motion", "scene"), dim=64, centres=8, vocab=64, positions=32,
                  depth=2, heads=4, hidden=128, visual_heads=4)
  if variant == "separate":
    c.system.vlad = "separate"
  if variant == "ce":
    c.system.temporal_agg = "mean"
  if variant == "mmt":
    c.system.update(embed=64, mixing_fields=dict(depth=2, hidden=128))
  c.task = dict(name="retrieval", loss_over="all", margin=0.2)
  c.data.update(root="runs/toybox/sentences", dataset=dict(name="msrvtt", protocol="full"), workers=0,
                experts=(("objects", 16, 8), ("motion", 12, 8), ("scene", 8, 4)))
  c.data.text.update(tokenizer="words", length=24)
  c.optimizer.update(name="ranger", b1=0.95, b2=0.999, eps=1e-5, weight_decay=1e-4, no_decay="")
  c.schedule.update(name="step", peak=2e-3, epochs=40.0, milestones=tuple(float(e) for e in range(5, 40, 5)),
                    factor=0.9)
  c.train.batch_size = 64
  c.eval.update(batch_size=64, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
