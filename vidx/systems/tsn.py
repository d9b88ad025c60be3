"""TSN: a trunk per frame, and the mean of the frames' logits.

Wang et al.: "Temporal Segment Networks", 2016.
"""

from flax import linen as nn

from vidx import systems


def tsn(num_classes: int = 400, trunk: str = "resnet_50", dropout: float = 0.5, head_std: float = 1e-3,
        **fields) -> nn.Module:
  """The trunk with the segment consensus as its head.

  Args:
    num_classes: classes.
    trunk: name of a trunk that sees single frames.
    dropout: before the last layer (0.8 in the first publication).
    head_std: of the last layer's initialisation.
    **fields: of the trunk.

  Returns:
    A module (B, T, H, W, 3) -> {'logits', 'features'}.
  """
  return systems.create_model(trunk, num_classes=num_classes, dropout=dropout, head_std=head_std, consensus=True,
                              **fields)
