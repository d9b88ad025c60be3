"""T2VLAD on YouCook2, which the thesis does not report: the recipe of
configs/lsmdc/t2vlad.py on features of two experts.

vidx train --config=configs/youcook2/t2vlad.py --config.data.root=DATA --runs=runs --workdir=runs/youcook2_t2vlad

Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.base()
  c.system = dict(name="t2vlad", experts=("rgb", "s3d"))
  c.task = dict(name="retrieval", loss_over="hard", margin=0.2)
  c.data.update(dataset=dict(name="youcook2"), experts=(("rgb", 2048, 30), ("s3d", 1024, 30)), val_split="test")
  c.data.text.update(length=30)
  c.optimizer.update(name="ranger", b1=0.95, b2=0.999, eps=1e-5, weight_decay=1e-4, no_decay="", clip_norm=2.0)
  c.schedule.update(name="step", peak=1e-4, epochs=50.0, milestones=tuple(float(e) for e in range(5, 50, 5)),
                    factor=0.9)
  c.train.update(batch_size=64, init_from=(("/text/", f"{config.RUNS}/bert"),))
  c.eval.update(batch_size=64, every_epochs=5.0)
  c.checkpoint.keep_best = 0
  return c
