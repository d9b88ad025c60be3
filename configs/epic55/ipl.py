"""IPL on EPIC-KITCHENS-55, validation by participants, with the rows of its ablations.

vidx train --config=configs/epic55/ipl.py --config.data.root=... --config.train.init_from=IG65M --workdir=runs/ipl
vidx eval --workdir=runs/ipl --views=10x1 --config.task.prior=conditional

The word behind the colon: r2plus1d, i3d, i3d_flow, their baselines gap_r2plus1d, gap_i3d, gap_i3d_flow, and of
r2plus1d the ablations independent, no_background, keep_1, keep_3, keep_7, keep_15.
Published, top-1 of action / verb / noun: gap_i3d 23.5 / 59.6 / 31.3, i3d 24.5 / 59.8 / 33.2, gap_r2plus1d
23.6 / 60.5 / 31.1, r2plus1d 25.4 / 60.7 / 35.5 (Table 4.2), independent 24.1 / 58.4 / 33.9 (4.5), no_background
24.2 / 60.9 / 33.5 (4.6); nouns with keep_1, _3, 5, _7, _15: 34.7, 34.9, 35.5, 34.2, 33.9 (4.7). Ours: not yet
measured.
"""

from vidx.train import config

FLOW = "{folder}/flow_frames/{name}/{axis}/frame_{index}.jpg"
ABLATIONS = {"independent": dict(prototypes="independent"), "no_background": dict(background=False),
             **{f"keep_{k}": dict(keep=k) for k in (1, 3, 7, 15)}}
VARIANTS = ("r2plus1d", "i3d", "i3d_flow", "gap_r2plus1d", "gap_i3d", "gap_i3d_flow", *ABLATIONS)


def get_config(net="r2plus1d"):
  fields, word = ABLATIONS.get(net, {}), "r2plus1d" if net in ABLATIONS else net.removeprefix("gap_")
  trunk = {"i3d": "i3d", "i3d_flow": "i3d", "r2plus1d": "r2plus1d_34"}[word]
  c = config.base()
  c.system = dict(name="gap" if net.startswith("gap_") else "ipl", trunk=trunk, num_classes=dict(verb=125, noun=352),
                  **fields)
  c.task = dict(name="verb_noun")
  c.data.update(dataset=dict(name="epic55"), frames=64, rate=30.0, sampler="uniform_clips", whole=(256, 256),
                crop_mode="random", jitter=(224, 288), crop=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=False, weight_decay=5e-4)
  c.schedule.update(name="step", peak=0.006, epochs=30.0, milestones=(20.0,))
  c.train.update(batch_size=32, init_exclude=("verb/", "noun/") if net.startswith("gap_") else ("head",))
  c.eval.batch_size = 8
  if word == "i3d_flow":
    c.data.update(flow=FLOW, flow_stride=2)
  if word == "r2plus1d":
    c.data.update(frames=32, rate=15.0, whole=(128, 128), jitter=(112, 144), crop=112)
    c.schedule.update(peak=4e-4, epochs=20.0, milestones=(9.0, 18.0))
  return c
