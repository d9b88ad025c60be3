"""T2VLAD on YouCook2, which the thesis does not report: the recipe of
configs/lsmdc/t2vlad.py on features of two experts.

vidx train --config=configs/youcook2/t2vlad.py --config.data.root=DATA --runs=runs --workdir=runs/youcook2_t2vlad

Ours: not yet measured.
"""

from vidx.train import config


def get_config():
  c = config.load_file("configs/lsmdc/t2vlad.py:pv")
  c.system = dict(name="t2vlad", experts=("rgb", "s3d"))
  c.data.update(dataset=dict(name="youcook2"), experts=(("rgb", 2048, 30), ("s3d", 1024, 30)))
  c.data.text.captions = "one"
  return c
