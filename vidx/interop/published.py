"""Public checkpoints by name: the one table of where they are, what is in them and what was published of them.

A name is RELEASE:NETWORK, as the release calls its network, and .WEIGHTS where it has
several of one. Addresses, sizes and accuracies are those that the releases state.
SHA-256s are stated in the names of files alone, by their first digits.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import fnmatch
import re
from typing import Any

from vidx import errors

RELEASES = ("torchvision", "timm", "pytorchvideo", "pyslowfast", "timesformer", "ig65m")


@dataclasses.dataclass(frozen=True)
class Published:
  """One public file of weights.

  Attributes:
    name: 'RELEASE:NETWORK' or 'RELEASE:NETWORK.WEIGHTS'.
    model: the name of `create_model` that takes them.
    dataset: what they learned from last.
    address: of the file.
    licence: of the release.
    top1: percent, as published; None where nothing is.
    mib: size, MiB, as published; 0 where it is not.
    source: whose names the tensors have, see `interop.RULES`; '': those of the release.
    fields: of the model, where they are not its defaults.
  """

  name: str
  model: str
  dataset: str
  address: str
  licence: str
  top1: float | None = None
  mib: float = 0.0
  source: str = ""
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  @property
  def rules(self) -> str:
    """Whose names the tensors have."""
    return self.source or self.name.partition(":")[0]

  @property
  def sha256(self) -> str:
    """The first digits, where the file's name states them, else ''."""
    found = re.search(r"-([0-9a-f]{8,})\.[a-z]+$", self.address)
    return found[1] if found else ""


def _torchvision() -> Sequence[Published]:
  rows = (
      ("resnet18", "resnet_18", "f37072fd", 44.661, 69.758), ("resnet34", "resnet_34", "b627a593", 83.275, 73.314),
      ("resnet50", "resnet_50", "0676ba61", 97.781, 76.130),
      ("resnet50.IMAGENET1K_V2", "resnet_50", "11ad3fa6", 97.790, 80.858),
      ("resnet101", "resnet_101", "63fe2227", 170.511, 77.374),
      ("resnet101.IMAGENET1K_V2", "resnet_101", "cd907fc2", 170.530, 81.886),
      ("resnet152", "resnet_152", "394f9c45", 230.434, 78.312),
      ("resnet152.IMAGENET1K_V2", "resnet_152", "f82ba261", 230.474, 82.284),
      ("mobilenet_v2", "mobilenet_v2", "b0353104", 13.555, 71.878),
      ("mobilenet_v2.IMAGENET1K_V2", "mobilenet_v2", "7ebf99e0", 13.598, 72.154),
      ("shufflenet_v2_x1_0", "shufflenet_v2", "5666bf0f80", 8.791, 69.362, "shufflenetv2_x1"),
      ("vgg16", "vgg16", "397923af", 527.796, 71.592), ("vgg19", "vgg19", "dcbb9e9d", 548.051, 72.376),
      ("alexnet", "alexnet", "7be5be79", 233.087, 56.522, "alexnet-owt"),
      ("inception_v3", "inception_v3", "0cc3c7bd", 103.903, 77.294, "inception_v3_google"),
      ("googlenet", "inception_v1", "1378be20", 49.731, 69.778),
      ("vit_b_16", "vit_b16", "c867db91", 330.285, 81.072), ("vit_l_16", "vit_l16", "852ce7e3", 1161.023, 79.662))
  clips = (("r3d_18", "b3b3357e", 127.359, 63.200), ("mc3_18", "a90a0ba3", 44.672, 63.960),
           ("r2plus1d_18", "91a641e6", 120.318, 67.463), ("s3d", "d76dad2f", 31.972, 68.368))
  fields = {"inception_v3": dict(num_classes=1000, form="torchvision")}

  def row(name, model, dataset, digits, mib, top1, file=""):
    address = f"https://download.pytorch.org/models/{file or name.partition('.')[0]}-{digits}.pth"
    return Published(f"torchvision:{name}", model, dataset, address, "BSD-3-Clause", top1, mib,
                     fields=fields.get(model, {}))

  return (*(row(name, model, "imagenet", *more) for name, model, *more in rows),
          *(row(name, name, "kinetics400", *more) for name, *more in clips))


def _timm() -> Sequence[Published]:
  deit, hub = "https://dl.fbaipublicfiles.com/deit", "https://huggingface.co/timm"
  releases = "https://github.com/huggingface/pytorch-image-models/releases/download"
  rows = (
      ("deit_tiny_patch16_224", "deit_ti", f"{deit}/deit_tiny_patch16_224-a1311bcf.pth", 72.190),
      ("deit_small_patch16_224", "deit_s", f"{deit}/deit_small_patch16_224-cd65a155.pth", 79.856),
      ("deit_base_patch16_224", "deit_b", f"{deit}/deit_base_patch16_224-b5f2ef4d.pth", 81.980),
      ("vit_base_patch16_224.augreg_in21k_ft_in1k", "vit_b16", "", 84.534),
      ("vit_base_patch16_384.augreg_in21k_ft_in1k", "vit_b16_384", "", 86.010),
      ("vit_large_patch16_224.augreg_in21k_ft_in1k", "vit_l16", "", 85.856),
      ("inception_resnet_v2.tf_in1k", "inception_resnet_v2", "", 80.434),
      ("resnet18.a1_in1k", "resnet_18", f"{releases}/v0.1-rsb-weights/resnet18_a1_0-d63eafa0.pth", 71.504),
      ("resnet34.a1_in1k", "resnet_34", f"{releases}/v0.1-rsb-weights/resnet34_a1_0-46f8f793.pth", 76.420),
      ("resnet50.a1_in1k", "resnet_50", f"{releases}/v0.1-rsb-weights/resnet50_a1_0-14fe96d1.pth", 80.382),
      ("resnet101.a1_in1k", "resnet_101", f"{releases}/v0.1-rsb-weights/resnet101_a1_0-cdcb52a9.pth", 81.494),
      ("resnet152.a1_in1k", "resnet_152", f"{releases}/v0.1-rsb-weights/resnet152_a1_0-2eee8a7a.pth", 81.998),
      ("mobilenetv2_100.ra_in1k", "mobilenet_v2", f"{releases}/v0.1-weights/mobilenetv2_100_ra-b33bc2c4.pth", 72.910))
  return tuple(Published(f"timm:{name}", model, "imagenet", address or f"{hub}/{name}/resolve/main/model.safetensors",
                         "Apache-2.0", top1) for name, model, address, top1 in rows)


def _pytorchvideo() -> Sequence[Published]:
  rows = (
      ("c2d_r50", "c2d_r50", "C2D_8x8_R50", 71.46), ("i3d_r50", "i3d_r50", "I3D_8x8_R50", 73.27),
      ("slow_r50", "slowonly_r50_8x8", "SLOW_8x8_R50", 74.58),
      ("slow_4x16_r50", "slowonly_r50_4x16", "SLOW_4x16_R50", 72.40),
      ("slowfast_r50", "slowfast_r50_8x8", "SLOWFAST_8x8_R50", 76.94),
      ("slowfast_r101", "slowfast_r101_8x8", "SLOWFAST_8x8_R101", 77.90),
      ("slowfast_16x8_r101_50_50", "slowfast_r101_16x8_50_50", "SLOWFAST_16x8_R101_50_50", 78.70),
      ("r2plus1d_r50", "r2plus1d_r50", "R2PLUS1D_16x4_R50", 76.01),
      ("x3d_xs", "x3d_xs", "X3D_XS", 69.12), ("x3d_s", "x3d_s", "X3D_S", 73.33), ("x3d_m", "x3d_m", "X3D_M", 75.94),
      ("x3d_l", "x3d_l", "X3D_L", None))
  something = (("slow_r50", "slowonly_r50_8x8", "SLOW_8x8_R50", 60.04),
               ("slowfast_r50", "slowfast_r50_8x8", "SLOWFAST_8x8_R50", 61.68))
  zoo, licence = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo", "Apache-2.0"
  return (*(Published(f"pytorchvideo:{name}", model, "kinetics400", f"{zoo}/kinetics/{file}.pyth", licence, top1)
            for name, model, file, top1 in rows),
          *(Published(f"pytorchvideo:{name}.ssv2", model, "ssv2", f"{zoo}/ssv2/{file}.pyth", licence, top1,
                      fields=dict(num_classes=174)) for name, model, file, top1 in something))


def _pyslowfast() -> Sequence[Published]:
  zoo = "https://dl.fbaipublicfiles.com/pyslowfast"
  rows = (
      ("I3D_8x8_R50", "i3d_r50", f"{zoo}/model_zoo/kinetics400/I3D_8x8_R50.pkl", 73.5),
      ("SLOWONLY_4x16_R50", "slowonly_r50_4x16", f"{zoo}/model_zoo/kinetics400/SLOWONLY_4x16_R50.pkl", 72.7),
      ("SLOWONLY_8x8_R50", "slowonly_r50_8x8", f"{zoo}/model_zoo/kinetics400/SLOWONLY_8x8_R50.pkl", 74.8),
      ("SLOWFAST_4x16_R50", "slowfast_r50_4x16", f"{zoo}/model_zoo/kinetics400/SLOWFAST_4x16_R50.pkl", 75.6),
      ("SLOWFAST_8x8_R50", "slowfast_r50_8x8", f"{zoo}/model_zoo/kinetics400/SLOWFAST_8x8_R50.pkl", 77.0),
      *((f"x3d_{k}", f"x3d_{k}", f"{zoo}/x3d_models/x3d_{k}.pyth", top1)
        for k, top1 in (("xs", 69.5), ("s", 73.5), ("m", 76.2), ("l", 77.5))))
  return tuple(Published(f"pyslowfast:{name}", model, "kinetics400", address, "Apache-2.0", top1)
               for name, model, address, top1 in rows)


def _timesformer() -> Sequence[Published]:
  rows = (
      ("TimeSformer", "timesformer_b", "kinetics400", "g5t24we9gl5yk88/TimeSformer_divST_8x32_224_K400", 77.9),
      ("TimeSformer-HR", "timesformer_hr", "kinetics400", "6f0x172lpqy3oxt/TimeSformer_divST_16x16_448_K400", 79.6),
      ("TimeSformer-L", "timesformer_l", "kinetics400", "r1iuxahif3sgimo/TimeSformer_divST_96x4_224_K400", 80.6),
      ("TimeSformer.K600", "timesformer_b", "kinetics600", "4h2qt41m2z3aqrb/TimeSformer_divST_8x32_224_K600", 79.1),
      ("TimeSformer-HR.K600", "timesformer_hr", "kinetics600", "ft1e92g2vhvxecv/TimeSformer_divST_16x16_448_K600",
       81.8),
      ("TimeSformer-L.K600", "timesformer_l", "kinetics600", "857rx6xeclxfhdg/TimeSformer_divST_96x4_224_K600", 82.2),
      ("TimeSformer.SSv2", "timesformer_b", "ssv2", "tybhuml57y24wpm/TimeSformer_divST_8_224_SSv2", 59.1),
      ("TimeSformer-HR.SSv2", "timesformer_hr", "ssv2", "9t68uzk8w2fpfnv/TimeSformer_divST_16_448_SSv2", 61.8),
      ("TimeSformer-L.SSv2", "timesformer_l", "ssv2", "3f1rm2al8mhprwa/TimeSformer_divST_64_224_SSv2", 62.0))
  classes = {"kinetics400": {}, "kinetics600": dict(num_classes=600), "ssv2": dict(num_classes=174)}
  frames = {"TimeSformer-L.SSv2": dict(frames=64)}
  return tuple(Published(f"timesformer:{name}", model, dataset, f"https://www.dropbox.com/s/{file}.pyth?dl=1",
                         "CC-BY-NC-4.0", top1, fields={**classes[dataset], **frames.get(name, {})})
               for name, model, dataset, file, top1 in rows)


def _ig65m() -> Sequence[Published]:
  rows = (("r2plus1d_34_32_kinetics", "kinetics400", "clip32_ft_kinetics_from_ig65m-ade133f1", {}),
          ("r2plus1d_34_8_kinetics", "kinetics400", "clip8_ft_kinetics_from_ig65m-0aa0550b", {}),
          ("r2plus1d_34_32_ig65m", "ig65m", "clip32_ig65m_from_scratch-449a7af9", dict(num_classes=487)),
          ("r2plus1d_34_8_ig65m", "ig65m", "clip8_ig65m_from_scratch-9bae36ae", dict(num_classes=359)))
  release = "https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0"
  return tuple(Published(f"ig65m:{name}", "r2plus1d_34", dataset, f"{release}/r2plus1d_34_{file}.pth", "MIT",
                         source="torchvision", fields=fields) for name, dataset, file, fields in rows)


#: By name. Of several for a model and a data set the first is meant where only those are named.
ROWS: Mapping[str, Published] = {row.name: row for row in (
    *_torchvision(), *_timm(), *_pytorchvideo(), *_pyslowfast(), *_timesformer(), *_ig65m())}


def is_name(text: str) -> bool:
  """Whether a text means one of these, rather than a folder: it begins with a release."""
  return text.partition(":")[0] in RELEASES and ":" in text


def find(name: str) -> Published:
  """The row of a name; after the colon a name of `create_model` will do as well.

  Raises:
    ConfigError: there is none; the nearest is named.
  """
  if name in ROWS:
    return ROWS[name]
  release, _, network = name.partition(":")
  for row in ROWS.values():
    if row.name.startswith(f"{release}:") and row.model == network:
      return row
  known = [n for n in ROWS if n.startswith(f"{release}:")] or ROWS
  raise errors.ConfigError(f"no public weights are known as '{name}'{errors.hint(name, known)};"
                           " `vidx models --weights` lists them.")


def of_model(model: str, dataset: str) -> Published | None:
  """The first row for a model that learned from a data set, None where there is none."""
  return next((r for r in ROWS.values() if (r.model, r.dataset) == (model, dataset)), None)


def matching(pattern: str) -> list[Published]:
  """The rows whose name, model or data set match a glob pattern.

  Raises:
    ConfigError: none does.
  """
  found = [r for r in ROWS.values() if any(fnmatch.fnmatch(x, pattern) for x in (r.name, r.model, r.dataset))]
  if not found:
    names = [*ROWS, *(r.model for r in ROWS.values()), *(r.dataset for r in ROWS.values())]
    raise errors.ConfigError(f"no public weights match '{pattern}'{errors.hint(pattern, names)};"
                             " `vidx models --weights` lists all.")
  return found
