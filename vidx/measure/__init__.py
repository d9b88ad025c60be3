"""Measuring: parameters, multiply-accumulates, live entries, peaks, the clock."""

from vidx.measure.count import Counts, count
