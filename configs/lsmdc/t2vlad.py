"""T2VLAD on LSMDC, with six experts (Table 6.3 of the thesis).

vidx data experts --root=MMT_FEATURES --out=DATA/experts
vidx convert huggingface bert-base-uncased/model.safetensors runs/bert --model=bert_base --model.pooler=false
vidx train --config=configs/lsmdc/t2vlad.py --config.data.root=DATA --runs=runs --workdir=runs/lsmdc_t2vlad

Behind the colon: thesis or pv, the margin of the public port; and what it is compared with: mee, ce (Liu et al. 2019)
and mmt (Gabeur et al. 2020), here with texts by BERT. Published, t2v R@1 / R@5 / R@10 / MdR: 14.3/32.4/42.2/16;
9.3/25.1/33.4/27 (mee), 11.2/26.9/34.8/25.3 (ce), 13.2/29.2/38.8/21 (mmt).
Test clips choose no checkpoint: the last one counts. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("thesis", "pv", "mee", "ce", "mmt")
EXPERTS = (("rgb", 2048, 30), ("audio", 128, 30), ("ocr", 300, 30), ("scene", 2208, 30), ("flow", 1024, 30),
           ("s3d", 1024, 30))


def get_config(variant="thesis"):
  other = variant in ("mee", "ce", "mmt")
  c = config.load_file(f"configs/msrvtt/t2vlad.py:{variant if other else '1k-A'}")
  c.system = dict(name=variant, experts=tuple(name for name, _, _ in EXPERTS)) if other else dict(name="t2vlad_lsmdc")
  c.data.dataset = dict(name="lsmdc")
  c.data.experts = EXPERTS
  c.data.text.update(length=30, captions="joined")
  if variant != "mmt":
    c.schedule.update(epochs=50.0, milestones=tuple(float(e) for e in range(5, 50, 5)))
  if variant == "pv":
    c.task.update(loss_over="hard", margin=0.2)
    c.optimizer.clip_norm = 2.0
  if variant == "ce":
    c.system.temporal_agg = dict(rgb="mean", audio="vlad", ocr="vlad", scene="mean", flow="mean", s3d="mean")
  return c
