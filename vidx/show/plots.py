"""Plots as SVG text that takes on the colours and fonts of the page around it."""

from collections.abc import Mapping, Sequence
import colorsys
import io
import itertools
import re

import numpy as np

from vidx import terminal

INK = "#010203"  # stands for the colour of the page's text
COLOURS = ("#2f7dd1", "#e07b39", "#3f9b6a", "#a45ec9")
POINTS = 400  # most points of a curve


def curves(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, xlabel: str = "", log: bool = False,
           dots: Sequence[str] = (), percent: bool = False, colours: Sequence[str] = COLOURS) -> str:
  """Lines over a common axis; long and noisy ones as a pale line with its mean on top.

  Args:
    series: (x, y) by name; what is not finite leaves a gap.
    xlabel: of the axis.
    log: logarithmic y axis.
    dots: names whose points are marked, such as the few values of a validation.
    percent: the y axis is 0 to 100.
    colours: of the lines, again and again.

  Returns:
    An <svg> element.
  """
  figure, axes = _figure(3.8, 2.2)
  for (name, (x, y)), colour in zip(series.items(), itertools.cycle(colours)):
    x, y = np.asarray(x, float), np.asarray(y, float)
    if name in dots:
      axes.plot(x, y, color=colour, linewidth=1.6, marker="o", markersize=3.5, label=_plain(name))
    elif len(x) < 24:
      axes.plot(x, y, color=colour, linewidth=1.6, label=_plain(name))
    else:
      axes.plot(*binned(x, y, POINTS), color=colour, linewidth=0.8, alpha=0.3)
      axes.plot(*binned(x, y, 40), color=colour, linewidth=1.6, label=_plain(name))
  if log:
    axes.set_yscale("log")
  if percent:
    axes.set_ylim(-3, 103)
  axes.set_xlabel(xlabel)
  axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
  if len(series) > 1:
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, handlelength=1.2)
  return _svg(figure)


def scatter(x: Sequence[float], y: Sequence[float], *, xlabel: str = "", ylabel: str = "") -> str:
  """Points in their order, the first pale and the last dark; of more than POINTS an even choice.

  Args:
    x: (N,) finite.
    y: (N,) finite.
    xlabel: of the axis.
    ylabel: of the axis.

  Returns:
    An <svg> element.
  """
  chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int))
  figure, axes = _figure(3.8, 2.2)
  axes.scatter(np.asarray(x)[chosen], np.asarray(y)[chosen], s=9, color=COLOURS[0], linewidth=0,
               alpha=np.linspace(0.15, 0.95, len(chosen)))
  axes.set_xlabel(_plain(xlabel))
  axes.set_ylabel(_plain(ylabel))
  axes.grid(color=INK, alpha=0.12, linewidth=0.6)
  return _svg(figure)


def confusion(counts: np.ndarray, classes: Sequence[str], numbers_up_to: int = 16, names_up_to: int = 40) -> str:
  """A confusion matrix, rows (the truth) shaded by their share.

  Args:
    counts: (C, C) by true and predicted class.
    classes: C names.
    numbers_up_to: most classes whose counts are written into the cells.
    names_up_to: most classes whose names are on the axes.

  Returns:
    An <svg> element.
  """
  counts = np.asarray(counts)
  n = len(counts)
  share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
  side = float(np.clip(1.6 + 0.42 * n, 3.0, 8.0))
  figure, axes = _figure(side, side)
  shade = np.empty((n, n, 4))
  shade[..., :3] = [int(COLOURS[0][i:i + 2], 16) / 255 for i in (1, 3, 5)]
  shade[..., 3] = np.where(counts > 0, 0.08 + 0.92 * share, 0.0)
  axes.imshow(shade, interpolation="nearest")
  if n <= numbers_up_to:
    for row, column in zip(*np.nonzero(counts)):
      axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                color="white" if share[row, column] > 0.55 else INK)
  if n <= names_up_to:
    names = [_plain(c if len(c) <= 24 else c[:23] + "\N{HORIZONTAL ELLIPSIS}") for c in classes]
    axes.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(n), names, fontsize=8)
  else:
    axes.set_xticks([])
    axes.set_yticks([])
  axes.tick_params(length=0)
  axes.set_xlabel("predicted")
  axes.set_ylabel("true")
  for spine in axes.spines.values():
    spine.set_visible(True)
    spine.set_alpha(0.25)
  return _svg(figure)


def histogram(values: Sequence[float], counts: Sequence[int], *, xlabel: str = "", bars: int = 30) -> str:
  """How often each value was met, neighbours together where there are more than `bars` of them.

  Args:
    values: of the horizontal axis.
    counts: how often, of each.
    xlabel: of the axis.
    bars: most of them.

  Returns:
    An <svg> element.
  """
  figure, axes = _figure(3.8, 2.2)
  low, high = min(values) - 0.5, max(values) + 0.5
  axes.hist(values, bins=np.linspace(low, high, min(bars, int(high - low)) + 1), weights=counts, color=COLOURS[0],
            rwidth=0.9)
  axes.set_xlabel(xlabel)
  axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
  return _svg(figure)


def class_colour(index: int) -> str:
  """The colour of a class in timelines: neighbours by number are far apart in hue."""
  red, green, blue = colorsys.hsv_to_rgb((0.58 + 0.618034 * index) % 1, 0.55, 0.82)
  return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def timeline(rows: Mapping[str, Sequence[tuple[str, int]]], colours: Mapping[str, str],
             confidence: Sequence[float] = ()) -> str:
  """Segments of one long video, a bar per row; the boundaries of the first row are drawn through all.

  Args:
    rows: [(class, frames), ...] by name, from above.
    colours: by class; others are pale.
    confidence: in 0..1, evenly over the video, as a curve below.

  Returns:
    An <svg> element.
  """
  figure, axes = _figure(8.0, 0.5 + 0.34 * len(rows) + (0.5 if len(confidence) else 0))
  total = max((sum(n for _, n in row) for row in rows.values()), default=1)
  for place, row in enumerate(rows.values()):
    ends = np.cumsum([n for _, n in row])
    axes.broken_barh([(end - n, n) for end, (_, n) in zip(ends, row)], (-place - 0.4, 0.8), linewidth=0,
                     facecolors=[colours.get(name, INK + "20") for name, _ in row])
    if place == 0:
      for end in ends[:-1]:
        axes.axvline(end, color=INK, linewidth=0.6, alpha=0.5)
  names = [_plain(name) for name in rows]
  axes.set_yticks([-i for i in range(len(rows))], names)
  low = 0.5 - len(rows)
  if len(confidence):
    bottom = low - 1.3
    x = (np.arange(len(confidence)) + 0.5) * total / len(confidence)
    axes.plot(x, bottom + 1.2 * np.asarray(confidence), color=COLOURS[0], linewidth=1.2)
    axes.set_yticks([*(-i for i in range(len(rows))), bottom + 0.6], [*names, "confidence"])
    low = bottom
  axes.set_ylim(low, 0.5)
  axes.set_xlim(0, total)
  axes.set_xlabel("frame")
  axes.tick_params(axis="y", length=0)
  return _svg(figure)


def binned(x: np.ndarray, y: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
  """At most `points` means of neighbours; x, y of finite points only where fewer."""
  keep = np.isfinite(y)
  x, y = x[keep], y[keep]
  if len(x) <= points:
    return x, y
  parts = np.array_split(np.arange(len(x)), points)
  return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _plain(name: str) -> str:
  """A name as text, whatever it holds: between two dollars Matplotlib reads formulas."""
  return terminal.line(name).replace("$", r"\$")


def _figure(width: float, height: float):
  """A figure and its axes that draw without a screen and without pyplot's global state."""
  from matplotlib.figure import Figure
  figure = Figure(figsize=(width, height), layout="constrained")
  figure.patch.set_alpha(0.0)
  axes = figure.subplots()
  axes.patch.set_alpha(0.0)
  axes.tick_params(colors=INK, labelsize=8, width=0.6, length=3)
  axes.xaxis.label.set_color(INK)
  axes.yaxis.label.set_color(INK)
  axes.xaxis.label.set_size(8)
  axes.yaxis.label.set_size(8)
  for side, spine in axes.spines.items():
    spine.set_color(INK)
    spine.set_linewidth(0.6)
    spine.set_visible(side in ("left", "bottom"))
  return figure, axes


def _svg(figure) -> str:
  import matplotlib
  text = io.StringIO()
  with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "vidx"}):
    figure.savefig(text, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
  svg = text.getvalue()
  svg = svg[svg.index("<svg"):].replace(INK, "currentColor")
  return re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg))
