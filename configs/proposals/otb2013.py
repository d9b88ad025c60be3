"""Objects of the Visual Tracker Benchmark without labels; the rows of the thesis' ablation behind the colon.

vidx propose --config=configs/proposals/otb2013.py --dataset=otb2013 --root=... --out=runs/otb2013
Published, with AlexNet's fc7: AUC 43.7; without refined boxes 36.5, and without growing 31.9; ours: not yet measured.
"""

from vidx.infer.proposals import settings

VARIANTS = ("full", "boxes", "fixed")


def get_config(word="full"):
  c = settings.base()
  c.clusters.update(k=(9,), keep=85)
  if word != "full":
    c.masks.refine_boxes = False
    c.tubes.masked = -1
  if word == "fixed":
    c.growing.mode = "none"
  return c
