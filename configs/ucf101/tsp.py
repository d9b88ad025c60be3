"""Temporal squeeze pooling alone: how well 3 squeezed images keep 10 frames, by its activations, UCF101.

The word behind the colon names the activations of both layers. The network behind the pooling stays as it starts, and
its loss is as nothing beside that of the projection, so that the pooling learns to keep the frames and nothing else;
AdamW takes no notice of how large that is. Layers have no bias, as eq. 3.2 has none.

vidx train --config=configs/ucf101/tsp.py --config.data.root=... --workdir=...
Published mean absolute errors (`mae` of the log, of pixels in 0..1): sigmoid_tanh 7.14e-2, tanh_sigmoid 8.33e-2,
sigmoid_sigmoid 7.33e-2, relu_relu 9.86e-2, leaky_relu_sigmoid 7.12e-2, sigmoid_leaky_relu 7.01e-2. Ours: not yet
measured.
"""

from vidx.train import config

ACTIVATIONS = {
    "sigmoid_leaky_relu": ("sigmoid", "leaky_relu"), "sigmoid_tanh": ("sigmoid", "tanh"),
    "tanh_sigmoid": ("tanh", "sigmoid"), "sigmoid_sigmoid": ("sigmoid", "sigmoid"), "relu_relu": ("relu", "relu"),
    "leaky_relu_sigmoid": ("leaky_relu", "sigmoid")}
VARIANTS = tuple(ACTIVATIONS)


def get_config(activations="sigmoid_leaky_relu"):
  c = config.base()
  c.system = dict(name="tesnet", trunk="resnet_18", num_classes=101, placements=(("input", 10, 3),),
                  squeeze=dict(activations=ACTIVATIONS[activations], use_bias=False, beta=1e6, figures=True,
                               pixels=(0.5, 0.5)))
  c.data.update(dataset=dict(name="ucf101", fold=1), frames=10, sampler="stride", short_side=128, crop=112,
                mean=(0.5,) * 3, std=(0.5,) * 3)
  c.optimizer.update(name="adamw", weight_decay=0.0, frozen=("^trunk/",))
  c.schedule.update(name="cosine", peak=1e-3, epochs=10.0)
  c.train.batch_size = 32
  return c
