"""Blocks: linen modules and pure functions of arrays, each importable on its own."""

from vidx.nn.conv import Conv, convolve
from vidx.nn.head import Head
from vidx.nn.norm import BatchNorm, ConvNormAct
from vidx.nn.sites import Site, features
from vidx.nn.temporal_shift import TemporalShift
