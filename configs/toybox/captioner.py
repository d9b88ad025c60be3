"""Small captioner on Toybox `sentences`, in stages: parts of speech, likelihood, and what agrees with references.

vidx data toybox --out=runs/toybox/sentences --labels=sentences
vidx train --config=configs/toybox/captioner.py:pos --workdir=runs/captioner_pos
vidx train --config=configs/toybox/captioner.py --runs=runs --workdir=runs/captioner
vidx train --config=configs/toybox/captioner.py:self_critical --runs=runs --workdir=runs/captioner_critical
vidx predict --workdir=runs/captioner_critical --show=words runs/toybox/sentences/videos

Behind the colon: the stages, or alone, which needs no other. Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("likelihood", "pos", "self_critical", "alone")


def get_config(stage="likelihood"):
  c = config.base()
  c.system = dict(name="pos_generator" if stage == "pos" else "captioner", streams=("objects", "motion"), steps=24,
                  hidden=64, embedding=32, attention=64, dropout=0.1)
  c.task = dict(name="tagging" if stage == "pos" else "captioning")
  c.data.update(root="runs/toybox/sentences", dataset=dict(name="msrvtt", protocol="full"), workers=0,
                experts=(("objects", 16, 8), ("motion", 12, 8)))
  c.data.text.update(vocab="", tokenizer="words", length=24, tags="rules")
  c.optimizer.update(name="adamw", weight_decay=0.0, clip_norm=5.0)
  c.schedule.update(name="cosine", peak=3e-3, warmup_epochs=1.0, epochs=20.0)
  c.train.batch_size = 32
  c.eval.update(batch_size=32, every_epochs=5.0)
  c.checkpoint.every_epochs = 5.0
  if stage != "pos":
    c.system.update(vocab=64, guided=stage != "alone")
    if stage != "alone":
      c.optimizer.frozen = ("^pos/",)
  if stage == "likelihood":
    c.train.init_from = (("/pos/", f"{config.RUNS}/captioner_pos"),)
  if stage == "self_critical":
    c.system.self_critical = True
    c.data.text.references = 3
    c.schedule.update(peak=3e-4, epochs=10.0)
    c.train.init_from = (("", f"{config.RUNS}/captioner"),)
  return c
