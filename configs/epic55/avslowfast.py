"""AVSlowFast on EPIC-KITCHENS-55, verbs and nouns apart, tuned from a run on Kinetics-400 (r101_8x8).

vidx train --config=configs/epic55/avslowfast.py:verb --config.data.root=... --config.train.init_from=KINETICS \\
  --workdir=runs/epic55_av_verb
vidx train --config=configs/epic55/avslowfast.py:noun ... --workdir=runs/epic55_av_noun

The words sight_verb and sight_noun stand for SlowFast without sound, from such a run.
Published, validation, top-1 / top-5: verb 58.7 / 83.6, noun 31.7 / 58.4; without sound 55.8 / 83.1 and 27.4 / 52.1.
Ours: not yet measured.
"""

from vidx.train import config

COUNTS = dict(verb=125, noun=352)
VARIANTS = ("verb", "noun", "sight_verb", "sight_noun")


def get_config(variant="verb"):
  target = variant.removeprefix("sight_")
  c = config.base()
  c.system = dict(name="avslowfast_r101_8x8", num_classes={target: COUNTS[target]}, frozen_bn="all", avs=("res5",))
  if variant.startswith("sight"):
    c.system.update(streams="sight", trunk="slowfast_r101_8x8_50_50", fs_stages=(1, 1, 1, 1))
  c.task = dict(name="verb_noun", only=target)
  c.data.update(dataset=dict(name="epic55"), frames=32, rate=30.0, sampler="stride", stride=2, short_side=256, crop=224,
                jitter=(256, 340), crop_mode="random", mean=(0.45,) * 3, std=(0.225,) * 3)
  c.data.audio.mels = 40
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=1e-4)
  epochs = {"verb": 27.0, "noun": 34.0}[target]  # 24,000 and 30,000 iterations of 32 of 28,561 segments
  c.schedule.update(name="step", peak={"verb": 0.01, "noun": 0.0006}[target], epochs=epochs,
                    milestones=(epochs * 2 / 3, epochs * 5 / 6))
  c.train.update(batch_size=32, init_exclude=("head",))
  return c
