"""Measuring: parameters, multiply-accumulates, speed."""

from vidx.measure.count import Counts, count
