"""IPL on EPIC-KITCHENS-100, frames or optical flow; the two streams are averaged at test.

vidx train --config=configs/epic100/ipl.py --config.data.root=... --config.train.init_from=KINETICS --workdir=runs/ipl
vidx train --config=configs/epic100/ipl.py:i3d_flow --config.data.root=... --workdir=runs/ipl_flow
vidx eval --workdir=runs/ipl --views=10x1 --fuse=runs/ipl_flow

The word behind the colon is one of i3d, i3d_flow, r2plus1d, and of the baselines gap_i3d, gap_i3d_flow.
Published, two streams, validation, top-1 of verb / noun / action: gap_i3d 66.84 / 48.48 / 37.58, i3d
67.82 / 50.87 / 39.87; test: i3d 65.66 / 49.74 / 38.43 (Table 4.1). Ours: not yet measured.
"""

from vidx.train import config

VARIANTS = ("i3d", "i3d_flow", "r2plus1d", "gap_i3d", "gap_i3d_flow")
FLOW = "{folder}/flow_frames/{name}/{axis}/frame_{index}.jpg"  # as the release has them


def get_config(net="i3d"):
  baseline, word = net.startswith("gap_"), net.removeprefix("gap_")
  trunk = {"i3d": "i3d", "i3d_flow": "i3d", "r2plus1d": "r2plus1d_34"}[word]
  c = config.base()
  c.system = dict(name="gap" if baseline else "ipl", trunk=trunk, num_classes=dict(verb=97, noun=300))
  c.task = dict(name="verb_noun")
  c.data.update(dataset=dict(name="epic100"), frames=64, rate=30.0, sampler="uniform_clips", whole=(256, 256),
                crop_mode="random", jitter=(224, 288), crop=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
  c.optimizer.update(name="sgd", momentum=0.9, nesterov=False, weight_decay=5e-4)
  c.schedule.update(name="step", peak=0.006, epochs=30.0, milestones=(20.0,))
  c.train.update(batch_size=32, init_exclude=("verb/", "noun/") if baseline else ("head",))
  c.eval.batch_size = 8
  if word == "i3d_flow":
    c.data.update(flow=FLOW, flow_stride=2)
  if word == "r2plus1d":
    c.data.update(frames=32, rate=15.0, whole=(128, 128), jitter=(112, 144), crop=112)
    c.schedule.update(peak=4e-4, epochs=20.0, milestones=(9.0, 18.0))
  return c
