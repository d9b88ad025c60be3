import xml.etree.ElementTree as ET

import numpy as np
import pytest

from vidx.show import plots


def test_plots_take_on_the_colours_and_fonts_of_the_page():
  svg = plots.curves({"loss": (range(5), np.ones(5))}, xlabel="epoch")
  assert "currentColor" in svg and plots.INK not in svg and "DejaVu" not in svg
  ET.fromstring(svg)


def test_plots_link_to_nothing_outside():
  svg = plots.confusion(np.eye(3, dtype=int), ["a", "b", "c"]) + plots.curves({"x": ([0, 1], [0, 1])})
  assert "<!DOCTYPE" not in svg and "<metadata" not in svg and 'href="http' not in svg


@pytest.mark.parametrize("length", [0, 1, 10, 5000])
def test_curves_of_any_length_draw(length):
  y = np.random.default_rng(0).random(length)
  y[::7] = np.nan
  svg = plots.curves({"a": (np.arange(length), y), "b": (np.arange(length), y)}, dots=["b"], percent=True)
  ET.fromstring(svg)
  assert len(svg) < 600_000


@pytest.mark.parametrize("classes", [1, 8, 30, 200])
def test_confusion_matrices_of_any_size_draw(classes):
  counts = np.random.default_rng(0).integers(9, size=(classes, classes))
  svg = plots.confusion(counts, [f"name & <{i}>" for i in range(classes)])
  ET.fromstring(svg)
  assert ("name &amp; &lt;0&gt;" in svg) == (classes <= 40)


def test_binning_keeps_the_mean_and_leaves_out_what_is_not_finite():
  x = np.arange(1000.0)
  bx, by = plots.binned(x, 2 * x, 10)
  assert len(bx) == 10
  np.testing.assert_allclose(by, 2 * bx)
  np.testing.assert_array_equal(plots.binned(x[:3], np.array([1, np.nan, 3]), 10), [[0, 2], [1, 3]])


def test_a_timeline_has_a_bar_per_segment_and_a_line_per_boundary_of_the_first_row():
  rows = {"truth": [("cut", 30), ("mix", 50)], "predicted": [("cut", 35), ("mix", 40), ("<odd>", 5)]}
  colours = {"cut": plots.class_colour(0), "mix": plots.class_colour(1)}
  assert len({plots.class_colour(i) for i in range(64)}) == 64
  bare = plots.timeline(rows, colours)
  assert bare.count(f"fill: {colours['cut']}") == bare.count(f"fill: {colours['mix']}") == 2
  assert "confidence" not in bare and "<odd>" not in bare
  assert ">confidence</text>" in plots.timeline(rows, colours, [0.2, 0.9, 0.4])
  assert plots.timeline({"truth": [("cut", 80)]}, colours).count("opacity: 0.5") + 1 == bare.count("opacity: 0.5")
