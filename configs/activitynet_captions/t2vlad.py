"""T2VLAD on ActivityNet Captions, paragraphs to videos (Table 6.2 of the thesis).

vidx data experts --root=MMT_FEATURES --out=DATA/experts
vidx convert huggingface bert-base-uncased/model.safetensors runs/bert --model=bert_base --model.pooler=false
vidx train --config=configs/activitynet_captions/t2vlad.py --config.data.root=DATA --runs=runs \\
  --workdir=runs/activitynet_t2vlad

Behind the colon: thesis or pv, the margin of the public port; and what it is compared with: ce (Liu et al. 2019) and
mmt (Gabeur et al. 2020), here with texts by BERT. Published, t2v R@1 / R@5 / R@50 / MdR: 23.7/55.5/93.5/4;
18.2/47.7/91.4/6 (ce), 22.7/54.2/93.2/5 (mmt).
Test videos choose no checkpoint: the last one counts. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("thesis", "pv", "ce", "mmt")
EXPERTS = (("s3d", 1024, 100), ("audio", 128, 100))


def get_config(variant="thesis"):
  c = config.load_file(f"configs/lsmdc/t2vlad.py:{variant}")
  other = variant in ("ce", "mmt")
  c.system = dict(name=variant, experts=tuple(name for name, _, _ in EXPERTS)) if other else (
      dict(name="t2vlad_activitynet"))
  c.data.update(dataset=dict(name="activitynet_captions"), experts=EXPERTS)
  c.data.text.length = 100
  if variant == "ce":
    c.system.temporal_agg = dict(s3d="mean", audio="vlad")
  if variant == "mmt":
    c.system.mixing_fields = dict(positions=102)
    c.schedule.factor = 0.9
  return c
