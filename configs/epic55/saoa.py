"""SAOA and SAP on EPIC-KITCHENS-55, in stages: a network of verbs, one of nouns, and what joins them.

vidx data detections --root=DETECTIONS --out=DATA/detections
vidx train --config=configs/epic55/saoa.py:r50_verb --config.data.root=DATA --config.train.init_from=KINETICS \\
  --workdir=runs/epic55_r50_verb
vidx train --config=configs/epic55/saoa.py:r50_noun ... --workdir=runs/epic55_r50_noun
vidx train --config=configs/epic55/saoa.py:r50_saoa --config.data.root=DATA --runs=runs --workdir=runs/epic55_r50_saoa
vidx eval --workdir=runs/epic55_r50_saoa --config.task.prior=conditional [--fuse=runs/epic55_r50_flow_saoa]

With --config.data.cache={runs}/epic55_r50_cache the last stage decodes every clip once, keeps what both networks make
of it, and trains on the middle clips of the segments. For the test kitchens train all stages with
--config.data.dataset.participants=0 --config.data.val_split=train, and evaluate with --split=test
--config.data.dataset.test=s1 (or s2) --submission=FILE.

The word behind the colon is TRUNK_STAGE: r50, r50_flow, i3d or i3d_flow; verb, noun, or of the last stage saoa, sap,
baseline or fusion; and of r50 the other rows of Tables 3.1 and 3.2: no_csg, no_gating, no_cross_stream, no_arm,
local_noun, detections_mean, detections_max, detections_only, noun_detections.
Published, validation, top-1 of action / verb / noun: r50 baseline 19.5 / 54.6 / 23.8, sap 25.0 / 55.9 / 35.0, saoa
25.7 / 57.7 / 34.8, with r50_flow 27.9 / 61.0 / 36.1; i3d baseline 20.5 / 53.2 / 26.2, saoa 24.3 / 55.1 / 34.7, with
i3d_flow 28.8 / 60.4 / 37.4 (Table 3.5). Verb / noun of r50 in Table 3.1: no_csg 57.0 / 32.6, no_gating 57.2 / 33.6,
no_cross_stream 57.4 / 33.2, no_arm 56.6 / 32.7; nouns in Table 3.2: detections_mean 24.5, detections_max 25.6,
detections_only 30.4, noun_detections 31.2, local_noun 33.6; verbs in Table 3.3, r50 / i3d: baseline 54.6 / 53.2, fusion
54.7 / 53.7, sap 55.9 / 54.3, saoa 57.7 / 55.1. Ours: not yet measured.
"""

from vidx.train import config

FLOW = "{folder}/flow_frames/{name}/{axis}/frame_{index}.jpg"
TRUNKS = {"r50": "resnet3d_50", "i3d": "i3d"}
ROWS = {
    "saoa": {}, "sap": dict(align_verb="global"), "baseline": dict(align_verb="none", align_noun="none"),
    "fusion": dict(align_verb="fusion"), "no_csg": dict(gate=False, cross_stream=False), "no_gating": dict(gate=False),
    "no_cross_stream": dict(cross_stream=False), "no_arm": dict(arm=False), "local_noun": dict(align_noun="local"),
    "detections_mean": dict(align_noun="detections"), "detections_max": dict(align_noun="detections", pool_by="max"),
    "detections_only": dict(use_clip=False), "noun_detections": dict(align_noun="concat"),
}
STAGES = ("saoa", "sap", "baseline", "fusion", "verb", "noun")
VARIANTS = (*(f"r50_{row}" for row in (*ROWS, "verb", "noun")),
            *(f"{net}_{stage}" for net in ("r50_flow", "i3d", "i3d_flow") for stage in STAGES))


def get_config(row="r50_saoa"):
  net, _, stage = row.partition("_")
  flow, stage = stage.startswith("flow_"), stage.removeprefix("flow_")
  c = config.base()
  c.data.update(dataset=dict(name="epic55"), frames=64, rate=30.0, sampler="centre", crop_mode="random",
                short_side=256, jitter=(224, 288), crop=224, flip=False)
  if net == "i3d":
    c.data.update(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  if flow:
    c.data.update(flow=FLOW, flow_stride=2)
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=False, weight_decay=1e-4)
  c.train.batch_size = 32
  c.eval.batch_size = 8
  counts = dict(verb=125, noun=352)
  if stage in counts:
    c.system = dict(name="gap", trunk=TRUNKS[net], num_classes={stage: counts[stage]})
    c.task = dict(name="verb_noun", only=stage)
    c.schedule.update(name="step", peak=0.003, epochs=35.0, milestones=(30.0,))
    return c
  c.system = dict(name="saoa", trunk=TRUNKS[net], num_classes=counts, **ROWS[stage])
  c.task = dict(name="verb_noun")
  c.data.update(whole=(256, 256), crop_mode="whole", jitter=())
  run = f"{config.RUNS}/epic55_{net}{'_flow' * flow}"
  c.train.init_from = tuple((f"/{name}_net/", f"{run}_{name}", "trunk") for name in counts)
  c.schedule.update(name="constant", peak=1e-4, epochs=15.0)
  if net == "i3d":
    c.schedule.update(name="step", peak=1e-3, milestones=(10.0,))
  return c
