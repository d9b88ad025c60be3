"""Small SAOA on Toybox `hands`, in three stages: a network of verbs, one of nouns, and what joins them.

vidx data toybox --out=runs/toybox/hands --labels=hands
vidx train --config=configs/toybox/saoa.py:verb --workdir=runs/toybox_saoa_verb
vidx train --config=configs/toybox/saoa.py:noun --workdir=runs/toybox_saoa_noun
vidx train --config=configs/toybox/saoa.py --runs=runs --workdir=runs/toybox_saoa
vidx predict --workdir=runs/toybox_saoa --show=candidates runs/toybox/hands/P02/videos/*.MP4

With --config.data.cache={runs}/toybox_saoa_cache the last stage trains on kept features of the middle clips.
"""

from vidx.train import config

VARIANTS = ("module", "sap", "verb", "noun")
TRUNK = dict(trunk="resnet3d_18", stages=(1, 1, 1), width=24, stem="small", zero_init=False)


def get_config(stage="module"):
  c = config.base()
  c.data.update(root="runs/toybox/hands", dataset=dict(name="epic100"), frames=8, stride=2, sampler="centre",
                whole=(64, 64), crop_mode="whole", flip=False, workers=0)
  c.data.detections.update(frames=4, rate=4.0, boxes=4, size=16)
  c.optimizer.update(name="adamw", weight_decay=0.05)
  c.schedule.update(name="cosine", peak=2e-3, warmup_epochs=1.0, epochs=10.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  if stage in ("verb", "noun"):
    c.system = dict(name="gap", **TRUNK)
    c.task = dict(name="verb_noun", only=stage)
    return c
  c.system = dict(name={"module": "saoa", "sap": "sap"}[stage], per_frame=4, local_frames=4, **TRUNK)
  c.task = dict(name="verb_noun")
  c.train.init_from = tuple((f"/{name}_net/", f"{{runs}}/toybox_saoa_{name}", "trunk") for name in ("verb", "noun"))
  return c
