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
  c = config.base()
  c.system = dict(name="t2vlad_lsmdc")
  if variant in ("mee", "ce", "mmt"):
    c.system = dict(name=variant, experts=tuple(name for name, _, _ in EXPERTS))
  c.task = dict(name="retrieval", loss_over="all", margin=0.02)
  c.data.update(dataset=dict(name="lsmdc"), experts=EXPERTS, val_split="test")
  c.data.text.update(length=30, captions="joined")
  c.optimizer.update(name="ranger", b1=0.95, b2=0.999, eps=1e-5, weight_decay=1e-4, no_decay="")
  c.schedule.update(name="step", peak=1e-4, epochs=50.0, milestones=tuple(float(e) for e in range(5, 50, 5)),
                    factor=0.9)
  c.train.update(batch_size=64, init_from=(("/text/", f"{config.RUNS}/bert"),))
  c.eval.update(batch_size=64, every_epochs=5.0)
  c.checkpoint.keep_best = 0
  if variant == "pv":
    c.task.update(loss_over="hard", margin=0.2)
    c.optimizer.clip_norm = 2.0
  if variant == "ce":
    c.system.temporal_agg = dict(rgb="mean", audio="vlad", ocr="vlad", scene="mean", flow="mean", s3d="mean")
    c.task.margin = 0.094
  if variant == "mmt":  # its own recipe
    c.task.margin = 0.05
    c.optimizer.update(name="adamw", b1=0.9, eps=1e-8, weight_decay=0.0)
    c.schedule.update(peak=5e-5, milestones=tuple(map(float, range(1, 50))), factor=0.95)
    c.train.batch_size = 32
  return c
