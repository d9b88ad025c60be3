"""Small phrase grounding on stills of Toybox `sentences`: a model of language first, then where its phrases are.

vidx data toybox --out=runs/toybox/stills --labels=sentences --layout=coco
vidx train --config=configs/toybox/grounding.py:language --workdir=runs/toybox_language
vidx train --config=configs/toybox/grounding.py --runs=runs --workdir=runs/toybox_grounding
vidx predict --workdir=runs/toybox_grounding --phrase="a red circle" --out=runs/grounded 'runs/toybox/stills/val2014/*'

Behind the colon: ours, language, disc_only, token, pc or sib; by `vidx eval --config.data.dataset.name=visual_genome`
the phrases have boxes in place of masks.
"""

from vidx.train import config

VARIANTS = ("ours", "language", "disc_only", "token", "pc", "sib")
TERMS = {"ours": (1e-3, 1e-3), "pc": (1e-3, 0.0), "sib": (0.0, 1e-3)}


def get_config(variant="ours"):
  c = config.base()
  c.data.update(root="runs/toybox/stills", workers=0)
  c.data.text.update(tokenizer="words", length=14)
  c.optimizer.update(name="adamw", weight_decay=1e-4)
  if variant == "language":
    c.system = dict(name="language_model", vocab=32, width=32, hidden=64)
    c.task = dict(name="next_word")
    c.data.dataset = dict(name="coco", media="text")
    c.schedule.update(name="cosine", peak=3e-3, epochs=3.0)
    c.train.batch_size = 64
    c.eval.batch_size = 64
    return c
  pc, sib = TERMS.get(variant, (0.0, 0.0))
  c.system = dict(name="grounding", trunk="vgg16", widths=((16, 16), (32, 32), (64, 64)), dim=64, hidden=64,
                  dropout=0.0, vocab=32, width=32)
  c.task = dict(name="grounding", pc=pc, sib=sib)
  c.data.update(dataset=dict(name="coco"), frames=1, crop=64, whole=(64, 64), crop_mode="whole",
                mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
  c.data.phrases.update(nodes=16, take="leaves" if variant == "token" else "tree",
                        codes=f"{config.RUNS}/toybox_language/phrases")
  c.schedule.update(name="cosine", peak=2e-3, epochs=40.0)
  c.train.update(batch_size=32, init_from=(("/language/", f"{config.RUNS}/toybox_language"),))
  c.eval.update(batch_size=32, every_epochs=10.0)
  c.checkpoint.every_epochs = 10.0
  return c
