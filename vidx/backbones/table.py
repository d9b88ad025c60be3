"""The trunks by name: each a factory and a row of fields. Nothing is imported before it is asked for."""

from collections.abc import Mapping
import dataclasses
from typing import Any

IMAGE = (1, 224, 224, 3)
CLIP = (1, 16, 112, 112, 3)


@dataclasses.dataclass(frozen=True)
class Row:
  """One name of `create_model`.

  Attributes:
    factory: 'module:function or class'.
    fields: what the name fixes; a caller's fields override them.
    source: paper or thesis.
    inputs: shapes of one example as published.
    weights: where weights are public; '' for nowhere.
  """

  factory: str
  fields: Mapping[str, Any]
  source: str
  inputs: tuple[tuple[int, ...], ...]
  weights: str = ""


def _resnet(source: str, shape: tuple[int, ...], weights: str, **fields: Any) -> Row:
  return Row("vidx.backbones.resnet:ResNet", fields, source, (shape,), weights)


_DEPTHS = {
    18: dict(stages=(2, 2, 2, 2), block="basic"),
    34: dict(stages=(3, 4, 6, 3), block="basic"),
    50: dict(stages=(3, 4, 6, 3), block="bottleneck"),
    101: dict(stages=(3, 4, 23, 3), block="bottleneck"),
    152: dict(stages=(3, 8, 36, 3), block="bottleneck"),
}
_IMAGE = dict(consensus=True)
_VIDEO = dict(num_classes=400, dims=3, temporal=(3, 3, 3, 3), time_strides=(1, 2, 2, 2), zero_init=True)
_SLIM = dict(num_classes=400, dims=3, block="bottleneck", width=8, widths=(8, 64, 128, 256),
             stem="video_pool", temporal=(3, 1, 1, 3), temporal_at="a", zero_init=True, dropout=0.5)
_I3D = dict(num_classes=400, dims=3, temporal_at="a", zero_init=True, dropout=0.5, crop=224, **_DEPTHS[50])
_TO_RES5 = dict(temporal=(1, 1, 3, 3))


def _vit(source: str, shape: tuple[int, ...], weights: str, **fields: Any) -> Row:
  return Row("vidx.backbones.vit:ViT", fields, source, (shape,), weights)


def _timesformer(frames: int, image: int, attention: str = "divided", **fields: Any) -> Row:
  return _vit("Bertasius et al. 2021", (1, frames, image, image, 3), "facebookresearch/TimeSformer", num_classes=400,
              frames=frames, image=image, attention=attention, consensus=False, **fields)


_DEIT = {"ti": dict(dim=192, heads=3), "s": dict(dim=384, heads=6), "b": dict(dim=768, heads=12)}

_TRANSFORMERS = {
    **{f"deit_{k}": _vit("Touvron et al. 2021", IMAGE, "timm, facebookresearch/deit", **_DEIT[k]) for k in _DEIT},
    "vit_b16": _vit("Dosovitskiy et al. 2020", IMAGE, "timm, torchvision"),
    "vit_b16_384": _vit("Dosovitskiy et al. 2020", (1, 384, 384, 3), "timm", image=384),
    "vit_l16": _vit("Dosovitskiy et al. 2020", IMAGE, "timm, torchvision", dim=1024, depth=24, heads=16),
    "timesformer_b": _timesformer(8, 224),
    "timesformer_l": _timesformer(96, 224),
    "timesformer_hr": _timesformer(16, 448),
    "timesformer_joint": _timesformer(8, 224, "joint"),
    "timesformer_space": Row("vidx.backbones.vit:ViT", dict(num_classes=400, consensus=False),
                             "Bertasius et al. 2021", ((1, 8, 224, 224, 3),)),
    "xvit_b16": _vit("Bulat et al. 2021", (1, 16, 224, 224, 3), "1adrianb/video-transformers", num_classes=400,
                     attention="shift", frames=16, shift_frames=8, temporal_layers=1, dropout=0.5),
    "cvt_13": Row("vidx.backbones.cvt:CvT", {}, "Wu et al. 2021", (IMAGE,), "microsoft/CvT"),
    "cvt_21": Row("vidx.backbones.cvt:CvT", dict(depths=(1, 4, 16)), "Wu et al. 2021", (IMAGE,), "microsoft/CvT"),
    **{f"psvit_b{p}": Row("vidx.backbones.psvit:PSViT", dict(points=p), "Yue et al. 2021", (IMAGE,), "yuexy/PS-ViT")
       for p in (14, 16, 18)},
    "psvit_ti14": Row("vidx.backbones.psvit:PSViT", dict(dim=192, depth=12, heads=3, widths=(192, 192)),
                      "Yue et al. 2021", (IMAGE,), "yuexy/PS-ViT"),
    "bert_base": Row("vidx.backbones.text:BERT", {}, "Devlin et al. 2019", ((1, 128),), "Hugging Face"),
    "tcn": Row("vidx.backbones.tcn:TCN", {}, "Fayyaz and Gall 2020", ((1, 2048, 2048),)),
}

_BUILT = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # all of bottlenecks


_ALPHAS = {"4x16": 8, "8x8": 4, "16x4": 2, "16x8": 4}  # of frames of the slow pathway x their stride; fast ones are 2
_SIX = (3,) * 6 + (1,) * 17  # blocks of res4 that see time, as in the networks whose temporal kernels are those of R50
_50_50 = dict(fusion_kernel=5, slow_temporal=(1, 1, _SIX, 3), fast_temporal=(3, 3, _SIX, 3))


def _slowfast(depth: int, frames: str, weights: str, **fields: Any) -> Row:
  alpha, kernel = _ALPHAS[frames], 7 if frames in ("8x8", "16x4") else 5
  fields = {**dict(stages=_BUILT[depth], alpha=alpha, fusion_kernel=kernel, crop=224), **fields}
  shape = (1, int(frames.partition("x")[0]) * alpha, 256, 256, 3)
  return Row("vidx.backbones.slowfast:SlowFast", fields, "Feichtenhofer et al. 2019", (shape,), weights)


def _x3d(frames: int, size: int, weights: str = "pytorchvideo, pyslowfast", **fields: Any) -> Row:
  shape = (1, frames, size, size, 3)
  return Row("vidx.backbones.x3d:X3D", dict(crop=size, **fields), "Feichtenhofer 2020", (shape,), weights)


_DEEP = dict(stages=(5, 10, 25, 15))

_PATHWAYS = {
    "slowfast_r18_8x8": _slowfast(18, "8x8", ""),
    "slowfast_r50_4x16": _slowfast(50, "4x16", "pyslowfast"),
    "slowfast_r50_8x8": _slowfast(50, "8x8", "pytorchvideo, pyslowfast"),
    "slowfast_r50_16x4": _slowfast(50, "16x4", ""),
    "slowfast_r101_8x8": _slowfast(101, "8x8", "pytorchvideo", fusion_kernel=5),
    "slowfast_r101_8x8_50_50": _slowfast(101, "8x8", "", **_50_50),
    "slowfast_r101_16x8": _slowfast(101, "16x8", "", fusion_kernel=5),
    "slowfast_r101_16x8_50_50": _slowfast(101, "16x8", "pytorchvideo", **_50_50),
    "slowfast_r101_16x8_nl": _slowfast(101, "16x8", "", non_local=((4, 6), (4, 13), (4, 20)), **_50_50),
    "audio_r50": Row("vidx.backbones.audio_net:AudioNet", dict(width=64, tf_stages=1), "Xiao et al. 2020",
                     ((1, 128, 80, 1), (1,))),
    "x3d_xs": _x3d(4, 160),
    "x3d_s": _x3d(13, 160),
    "x3d_m": _x3d(16, 224),
    "x3d_l": _x3d(16, 312, **_DEEP),
    "x3d_xl": _x3d(16, 312, "", **_DEEP, stem_features=32, widths=(32, 72, 136, 280)),
}

_BN_INCEPTION = (  # see vidx.backbones.inception.STAGES
    ((64, (64, 64), (64, 96, 96), ("avg", 32)), (64, (64, 96), (64, 96, 96), ("avg", 64)),
     (0, (128, 160), (64, 96, 96), ("max", 0))),
    ((224, (64, 96), (96, 128, 128), ("avg", 128)), (192, (96, 128), (96, 128, 128), ("avg", 128)),
     (160, (128, 160), (128, 160, 160), ("avg", 128)), (96, (128, 192), (160, 192, 192), ("avg", 128)),
     (0, (128, 192), (192, 256, 256), ("max", 0))),
    ((352, (192, 320), (160, 224, 224), ("avg", 128)), (352, (192, 320), (192, 224, 224), ("max", 128))),
)


def _inception(source: str, shape: tuple[int, ...], weights: str, **fields: Any) -> Row:
  return Row("vidx.backbones.inception:Inception", fields, source, (shape,), weights)


_CLIPS = dict(num_classes=400, dims=3, consensus=False, eps=1e-3)

_INCEPTION = {
    "bn_inception": _inception("Ioffe and Szegedy 2015", IMAGE, "Cadene, TSM",
                               stages=_BN_INCEPTION, pools=(), bias=True),
    "inception_v1": _inception("Szegedy et al. 2015", IMAGE, "torchvision", eps=1e-3, dropout=0.2),
    "i3d": _inception("Carreira and Zisserman 2017", (1, 64, 224, 224, 3), "piergiaj/pytorch-i3d", padding="same",
                      momentum=0.99, dropout=0.5, **_CLIPS),
    "s3d": _inception("Xie et al. 2018", (1, 16, 224, 224, 3), "torchvision", padding="half", separable=True,
                      momentum=0.999, dropout=0.2, **_CLIPS),
}

_CHAINS = {
    "mobilenet_v2": Row("vidx.backbones.mobilenet:MobileNet", {}, "Sandler et al. 2018", (IMAGE,), "torchvision, timm"),
    "shufflenet_v2": Row("vidx.backbones.shufflenet:ShuffleNet", {}, "Ma et al. 2018", (IMAGE,), "torchvision"),
    "vgg16": Row("vidx.backbones.vgg:VGG", {}, "Simonyan and Zisserman 2015", (IMAGE,), "torchvision"),
    "vgg19": Row("vidx.backbones.vgg:VGG",
                 dict(widths=((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)),
                 "Simonyan and Zisserman 2015", (IMAGE,), "torchvision"),
    "alexnet": Row("vidx.backbones.alexnet:AlexNet", {}, "Krizhevsky 2014", (IMAGE,), "torchvision"),
    "c3d": Row("vidx.backbones.vgg:VGG",
               dict(num_classes=487, widths=((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2), dims=3,
                    consensus=False),
               "Tran et al. 2015", (CLIP,), "DavideA/c3d-pytorch"),
    "inception_v3": Row("vidx.backbones.inception_v3:InceptionV3", dict(num_classes=1008), "Szegedy et al. 2016",
                        ((1, 299, 299, 3),), "pytorch-fid, torchvision"),
    "inception_resnet_v2": Row("vidx.backbones.inception_resnet:InceptionResNet", {}, "Szegedy et al. 2017",
                               ((1, 299, 299, 3),), "timm, Cadene"),
    "densenet3d_121": Row("vidx.backbones.densenet:DenseNet", {}, "Diba et al. 2017", (CLIP,), "kenshohara"),
    "densenet3d_161": Row("vidx.backbones.densenet:DenseNet", dict(layers=(6, 12, 36, 24), growth=48, width=96),
                          "Diba et al. 2017", (CLIP,)),
}

ROWS: dict[str, Row] = {
    **_CHAINS,
    **_INCEPTION,
    **_TRANSFORMERS,
    **_PATHWAYS,
    **{f"resnet_{d}": _resnet("He et al. 2016", IMAGE, "torchvision", **_DEPTHS[d], **_IMAGE) for d in _DEPTHS},
    **{f"r3d_{d}": _resnet("Tran et al. 2018", CLIP, "torchvision" if d == 18 else "", stem="video",
                           **_DEPTHS[d], **_VIDEO) for d in (18, 50)},
    "mc3_18": _resnet("Tran et al. 2018", CLIP, "torchvision", stem="video", **_DEPTHS[18],
                      **{**_VIDEO, "temporal": (3, 1, 1, 1), "time_strides": (1, 1, 1, 1)}),
    "r2plus1d_18": _resnet("Tran et al. 2018", CLIP, "torchvision", stem="r2plus1d", split="block",
                           **_DEPTHS[18], **_VIDEO),
    "r2plus1d_34": _resnet("Ghadiyaram et al. 2019", (1, 32, 112, 112, 3), "IG-65M", stem="r2plus1d", split="conv",
                           eps=1e-3, **_DEPTHS[34], **_VIDEO),
    **{f"resnet3d_{d}": _resnet("Hara et al. 2018", CLIP, "kenshohara", stem="hara", **_DEPTHS[d], **_VIDEO)
       for d in (18, 34, 50, 101)},
    "resnext3d_101": _resnet("Hara et al. 2018", CLIP, "kenshohara", stem="hara", groups=32, inner=2,
                             **_DEPTHS[101], **_VIDEO),
    "r2plus1d_r50": _resnet("Tran et al. 2018", (1, 16, 224, 224, 3), "pytorchvideo", stem="image_flat",
                            split="reversed", strides=(2, 2, 2, 2), **_DEPTHS[50],
                            **{**_VIDEO, "time_strides": (1, 1, 2, 2)}),
    **{f"r2plus1d_bottleneck_{d}": _resnet("thesis, table 6.4", (1, 32, size, size, 3), "", stages=_BUILT[d],
                                           block="bottleneck", stem="image_flat", split="plain", strides=(2, 2, 2, 2),
                                           **_VIDEO)
       for d, size in ((18, 224), (50, 256))},
    "c2d_r50": _resnet("Wang et al. 2018", (1, 8, 224, 224, 3), "pytorchvideo, pyslowfast",
                       time_pools=(2, 1, 1, 1), **_I3D),
    "i3d_r50": _resnet("Wang et al. 2018", (1, 8, 224, 224, 3), "pytorchvideo, pyslowfast", stem="video_pool",
                       temporal=(3, (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1)), time_pools=(2, 1, 1, 1), **_I3D),
    **{f"slowonly_r50_{n}": _resnet("Feichtenhofer et al. 2019", (1, int(n[0]), 224, 224, 3),
                                    "pytorchvideo, pyslowfast", **_I3D, **_TO_RES5) for n in ("4x16", "8x8")},
    "resnet3d_slim_18": _resnet("thesis, table 6.12", (1, 32, 224, 224, 3), "", stages=(2, 2, 2, 2), **_SLIM),
    "resnet3d_slim_50": _resnet("thesis, table 6.12", (1, 32, 256, 256, 3), "", stages=(3, 4, 6, 3), **_SLIM),
}
