"""The PyTorch networks that vidx is measured beside: the same architecture, in the library its users know.

torch, torchvision, timm and pytorchvideo are imported when a peer is made, never before.
"""

from collections.abc import Callable
import dataclasses
import functools
import importlib
import pathlib
import re
import sys
import sysconfig
from typing import Any

from vidx import errors


@dataclasses.dataclass(frozen=True)
class Peer:
  """A way to make a network of another library.

  Attributes:
    library: 'torchvision', 'timm' or 'pytorchvideo'.
    make: (the library's imported module, frames of the clip, its side) -> torch module that
      takes (B, C, H, W) or (B, C, T, H, W), in evaluation mode the logits.
    frames: whether the network sees single frames; clips then come as (B T, C, H, W).
    source: of the rules in `vidx.interop` that convert its weights; '' for none.
  """

  library: str
  make: Callable[[Any, int, int], Any]
  frames: bool = False
  source: str = ""


@functools.cache
def import_torchvision() -> Any:
  """The package, also where its compiled operators do not load.

  That is so next to another build of torch than they were made for, such as the one
  for CPUs, and makes the import fail where it describes operators that are not
  there. Definitions of networks need none, so they are declared by name.
  """
  try:
    return importlib.import_module("torchvision")
  except RuntimeError:
    for name in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
      del sys.modules[name]
  import torch
  folder = pathlib.Path(sysconfig.get_paths()["purelib"]) / "torchvision"
  names = {m.group(1) for path in folder.rglob("*.py") for m in re.finditer(r"torchvision::(\w+)", path.read_text())}
  library = torch.library.Library("torchvision", "FRAGMENT")
  for name in sorted(names):
    try:
      library.define(f"{name}(Tensor a) -> Tensor")
    except RuntimeError:  # the failed import came as far as this one
      pass
  _kept.append(library)  # what it declares lives as long as it does
  return importlib.import_module("torchvision")


_kept: list[Any] = []


def _torchvision(path: str, **fields: Any) -> Peer:
  name = path.rpartition(".")[2]
  module = path.rpartition(".")[0]
  return Peer("torchvision", lambda models, t, side: getattr(getattr(models, module) if module else models, name)(
      weights=None, **fields), not module, "torchvision")


def _timm(name: str) -> Peer:
  return Peer("timm", lambda timm, t, side: timm.create_model(name, pretrained=False), True, "timm")


def _hub(name: str, **fields: Any) -> Peer:
  """A network of pytorchvideo's hub; the extent of its head's pooling follows the clip."""

  def make(hub, t, side):
    pooled = {k: tuple(v(t, side)) for k, v in fields.items()}
    return getattr(hub, name)(head_activation=None, **pooled)

  return Peer("pytorchvideo", make, source="pytorchvideo")


def _slow(hub, t, side):
  """SlowOnly, whose hub entry fixes the pooling of its head at 8 frames of 256 pixels."""
  import torch
  net = hub.slow_r50(head_activation=None)
  net.blocks[-1].pool = torch.nn.AvgPool3d((t, side // 32, side // 32), stride=1)
  return net


def _slowfast(name: str):

  def make(hub, t, side):
    import torch
    net = getattr(hub, name)(head_activation=None, head_pool_kernel_sizes=(
        (t // 4, side // 32, side // 32), (t, side // 32, side // 32)))

    class TwoPathways(torch.nn.Module):
      """The published choice of slow frames in front."""

      def __init__(self):
        super().__init__()
        self.net = net

      def forward(self, x):
        index = torch.linspace(0, x.shape[2] - 1, x.shape[2] // 4, device=x.device).long()
        return self.net([x[:, :, index], x])

      def state_dict(self, *args, **kwargs):
        return self.net.state_dict(*args, **kwargs)

    return TwoPathways()

  return make


def _x3d(depth: float):

  def make(hub, t, side):
    create = importlib.import_module("pytorchvideo.models.x3d").create_x3d
    return create(input_clip_length=t, input_crop_size=side, depth_factor=depth, head_activation=None)

  return make


def _tsm(models, t, side):
  """ResNet-50 on frames whose residual branches see shifted channels, and the mean of the frames' logits."""
  import torch
  net = models.resnet50(num_classes=400)

  class Shift(torch.nn.Module):

    def __init__(self, conv):
      super().__init__()
      self.conv = conv

    def forward(self, x):
      x = x.unflatten(0, (-1, t))
      y, fold = torch.zeros_like(x), x.shape[2] // 8
      y[:, :-1, :fold] = x[:, 1:, :fold]
      y[:, 1:, fold:2 * fold] = x[:, :-1, fold:2 * fold]
      y[:, :, 2 * fold:] = x[:, :, 2 * fold:]
      return self.conv(y.flatten(0, 1))

  for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
    for block in stage:
      block.conv1 = Shift(block.conv1)

  class Consensus(torch.nn.Module):

    def __init__(self):
      super().__init__()
      self.net = net

    def forward(self, x):
      return self.net(x).unflatten(0, (-1, t)).mean(1)

  return Consensus()


#: model -> its peer.
PEERS: dict[str, Peer] = {
    **{f"resnet_{d}": _torchvision(f"resnet{d}") for d in (18, 34, 50, 101, 152)},
    "mobilenet_v2": _torchvision("mobilenet_v2"),
    "shufflenet_v2": _torchvision("shufflenet_v2_x1_0"),
    "vgg16": _torchvision("vgg16"),
    "vgg19": _torchvision("vgg19"),
    "alexnet": _torchvision("alexnet"),
    "inception_v1": _torchvision("googlenet", aux_logits=False, init_weights=False),
    **{name: _torchvision(f"video.{name}") for name in ("r3d_18", "mc3_18", "r2plus1d_18", "s3d")},
    "tsm_r50": Peer("torchvision", _tsm, True),
    **{f"deit_{k}": _timm(f"deit_{w}_patch16_224") for k, w in (("ti", "tiny"), ("s", "small"), ("b", "base"))},
    "vit_b16": _timm("vit_base_patch16_224"),
    "vit_l16": _timm("vit_large_patch16_224"),
    "inception_resnet_v2": _timm("inception_resnet_v2"),
    "slowonly_r50_8x8": Peer("pytorchvideo", _slow, source="pytorchvideo"),
    **{name: _hub(name, head_pool_kernel_size=lambda t, side: (t // 2, side // 32, side // 32))
       for name in ("c2d_r50", "i3d_r50")},
    "r2plus1d_r50": _hub("r2plus1d_r50", head_pool_kernel_size=lambda t, side: (t // 4, side // 32, side // 32)),
    **{f"slowfast_r{d}_8x8": Peer("pytorchvideo", _slowfast(f"slowfast_r{d}"), source="pytorchvideo")
       for d in (50, 101)},
    **{f"x3d_{size}": Peer("pytorchvideo", _x3d(depth), source="pytorchvideo")
       for size, depth in (("xs", 2.2), ("s", 2.2), ("m", 2.2), ("l", 5.0))},
}

_MODULES = {"torchvision": "torchvision.models", "timm": "timm", "pytorchvideo": "pytorchvideo.models.hub"}


def make(name: str, frames: int, side: int) -> tuple[Peer, Any]:
  """The peer of a model and its torch module, randomly initialised, for clips of the given size.

  Raises:
    ConfigError: the model has no peer, or its library is not installed.
  """
  peer = PEERS.get(name)
  if peer is None:
    raise errors.ConfigError(f"{name} has no peer; those that have one: {', '.join(sorted(PEERS))}.")
  try:
    import_torchvision()
    library = importlib.import_module(_MODULES[peer.library])
  except ImportError as e:
    raise errors.ConfigError(f"the peer of {name} is in {peer.library}, which cannot be imported ({e}); leave out"
                             " --peer, or install it next to torch.") from None
  return peer, peer.make(library, frames, side)
