"""Blocks: linen modules and pure functions of arrays, each importable on its own."""

from vidx.nn.action_relation import ActionRelation
from vidx.nn.band_pass import BandPassLateral, MotionBandPass
from vidx.nn.category_heads import CategoryHeads
from vidx.nn.channel_correlation import ChannelCorrelation
from vidx.nn.channel_gate import ChannelGate
from vidx.nn.conv import Conv, convolve
from vidx.nn.cosine_classifier import CosineClassifier
from vidx.nn.cross_gate import CrossGate
from vidx.nn.double_attention import DoubleAttention
from vidx.nn.duration_dp import duration_dp
from vidx.nn.dynamic_image import DynamicImage
from vidx.nn.frame_context import FrameScores
from vidx.nn.head import Head
from vidx.nn.image_critic import MultiScaleCritic, PatchCritic, ScalarCritic
from vidx.nn.image_generator import ImageDecoder, ImageEncoder
from vidx.nn.log_mel import log_mel
from vidx.nn.match_transform import match_transform
from vidx.nn.merge_reduce import MergeReduce
from vidx.nn.nms import nms
from vidx.nn.non_local import NonLocal
from vidx.nn.norm import BatchNorm, ConvNormAct, instance_norm
from vidx.nn.phrase_grounding import SemanticEmbedding, phrase_masks
from vidx.nn.pixel_projection import PixelwiseTemporalProjection
from vidx.nn.pixel_verification import pixel_verification
from vidx.nn.ps_roi_pool import ps_roi_pool
from vidx.nn.pyramid_attention import ConvolutionPyramidAttention
from vidx.nn.rank_weighting import RankWeighting
from vidx.nn.region_non_local import RegionNonLocal
from vidx.nn.represent import FrameDifference, MiddleFrame
from vidx.nn.roi_align import roi_align
from vidx.nn.segment_masks import segment_masks
from vidx.nn.similarity_sampling import SimilarityGuidedSampling
from vidx.nn.sites import Site, features, taps
from vidx.nn.soft_assign_vlad import SoftAssignVLAD
from vidx.nn.spatial_memory import SpatialMemory
from vidx.nn.squeeze import TemporalSqueezePooling
from vidx.nn.temporal_shift import TemporalShift
from vidx.nn.token_sampling import AdaptiveTokenSampler, TokenReorganization
from vidx.nn.uniform_sampling import UniformSampling
