"""The captioner of HATNet on MSR-VTT, in stages (Table 5.10 of the thesis).

vidx train --config=configs/msrvtt/captioner.py:pos --config.data.root=DATA --workdir=runs/captioner_pos
vidx train --config=configs/msrvtt/captioner.py --config.data.root=DATA --runs=runs --workdir=runs/captioner
vidx train --config=configs/msrvtt/captioner.py:self_critical --config.data.root=DATA --runs=runs \
  --workdir=runs/captioner_critical
vidx eval --workdir=runs/captioner --split=test --config.system.beam=3

DATA/experts has features of 20 or more moments of each video: `rgb`, 2048 of 3D-ResNet50 in place of the features of
appearance, and `motion`, 1024 of optical flow. Published BLEU-4: 41.8 (Kinetics), 42.7 (HVU); ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("likelihood", "pos", "self_critical")


def get_config(stage="likelihood"):
  c = config.base()
  c.system = dict(name="pos_generator" if stage == "pos" else "captioner")
  c.task = dict(name="tagging" if stage == "pos" else "captioning")
  c.data.update(dataset=dict(name="msrvtt", protocol="full"), experts=(("rgb", 2048, 20), ("motion", 1024, 20)),
                expert_tokens="even")
  c.data.text.update(vocab="", tokenizer="words", length=28, least=1, tags="rules")
  c.optimizer.update(name="adamw", weight_decay=0.0, clip_norm=0.1)
  c.schedule.update(name="step", peak=4e-4, epochs=60.0, milestones=tuple(float(e) for e in range(3, 60, 4)),
                    factor=0.5)
  c.train.batch_size = 64
  c.eval.update(batch_size=64, every_epochs=1.0)
  if stage != "pos":
    c.system.beam = 1
    c.optimizer.frozen = ("^pos/",)
  if stage == "likelihood":
    c.train.init_from = (("/pos/", f"{config.RUNS}/captioner_pos"),)
  if stage == "self_critical":
    c.system.self_critical = True
    c.data.text.references = 20
    c.schedule.update(name="constant", peak=5e-5, epochs=46.0)
    c.train.init_from = (("", f"{config.RUNS}/captioner"),)
  return c
