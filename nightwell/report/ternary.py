"""The ternary plot of C2, C3 and nC4: each amount as a share of the three."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from nightwell.report import style
from nightwell.report.curves import StreamLog
from nightwell.report.intervals import summaries

Floats = NDArray[np.float64]

SPECIES = ("ethane", "propane", "n_butane")
#: Corners: nC4 at the top, C2 left, C3 right; unit triangle.
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3.0) / 2.0]])


def shares_of(log: StreamLog) -> Floats:
    """Return C2, C3 and nC4 as percent of their sum, float64 (depth, 3); NaN unless all three are detected."""
    curves = [log.curve(name) for name in SPECIES]
    missing = np.full(log.depth.size, np.nan)
    amounts = np.stack([missing if curve is None else curve.value for curve in curves], axis=1)
    total = amounts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where((amounts > 0).all(axis=1, keepdims=True), 100.0 * amounts / total, np.nan)


def to_plane(shares: Floats) -> Floats:
    """Return the places of shares [percent] in the triangle, float64 (..., 2)."""
    places: Floats = shares / 100.0 @ CORNERS
    return places


def write_ternary(result: xr.DataTree, path: str | PathLike[str], options: style.PlotOptions | None = None) -> Path:
    """Write the ternary plot as PNG or PDF; errors as :func:`draw_ternary` and :func:`~.style.write_figure`."""
    return style.write_figure(lambda: draw_ternary(result, options), path)


def draw_ternary(result: xr.DataTree, options: style.PlotOptions | None = None) -> Figure:
    """Draw the ternary plot of one stream on a new figure.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    options
        Stream and interval.

    Raises
    ------
    InputError
        The result has no such stream, or no depth in the interval.
    """
    log = style.cut(result, options or style.PlotOptions(), "ternary plot")
    figure = style.new_figure()
    axes = figure.add_axes((style.LEFT, style.BOTTOM - 0.01, 0.62, style.TOP - style.BOTTOM + 0.015))
    _draw_triangle(axes)
    shares = shares_of(log)
    known = np.isfinite(shares).all(axis=1)
    places = to_plane(shares[known])
    if known.any():
        dots = axes.scatter(
            places[:, 0], places[:, 1], c=log.depth[known], cmap=mpl.colormaps[style.CONTINUOUS].reversed(), s=9,
            alpha=0.55, linewidths=0, vmin=float(log.depth[0]), vmax=float(log.depth[-1]), zorder=3,
            rasterized=True,
        )  # fmt: skip
        solid = ScalarMappable(Normalize(float(log.depth[0]), float(log.depth[-1])), dots.get_cmap())
        bar = figure.colorbar(solid, cax=figure.add_axes((0.735, style.BOTTOM, 0.012, 0.22)))
        bar.ax.invert_yaxis()
        bar.set_label("measured depth, m", fontsize=8)
        bar.ax.tick_params(labelsize=7.5)
        bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    _mark_intervals(axes, log, shares)
    nothing = "" if known.any() else " The three are detected together at no depth."
    notes = (
        f"Share = 100 x / (C2 + C3 + nC4), by volume, at the {known.sum():,} of {known.size:,} depths where all three "
        f"are detected. Numbers: medians over intervals of one Haworth reading "
        f"where half of the depths or more have all three.{nothing}"
    )
    style.frame(figure, result, f"C2-C3-nC4: {style.depths_in_words(log)}", notes)
    return figure


def _draw_triangle(axes: Axes) -> None:
    outline = np.vstack([CORNERS, CORNERS[:1]])
    for percent in range(10, 100, 10):
        for corner in range(3):
            one, other = (corner + 1) % 3, (corner + 2) % 3
            ends = np.zeros((2, 3))
            ends[:, corner] = percent
            ends[0, one] = ends[1, other] = 100 - percent
            line = to_plane(ends)
            axes.plot(line[:, 0], line[:, 1], color="#d4d4d4", linewidth=0.9 if percent == 50 else 0.5, zorder=1)  # noqa: PLR2004 - the middle
            if percent % 20 == 0:
                _tick(axes, line[0], corner, percent)
    axes.plot(outline[:, 0], outline[:, 1], color="black", linewidth=1.0, zorder=2)
    for corner, (label, shift, side) in enumerate(
        (
            ("100 % C2", (0.0, -0.075), "center"),
            ("100 % C3", (0.0, -0.075), "center"),
            ("100 % nC4", (0.0, 0.03), "center"),
        )
    ):
        x, y = CORNERS[corner] + shift
        axes.text(x, y, label, ha=side, fontsize=11, fontweight="bold")
    axes.set(xlim=(-0.12, 1.12), ylim=(-0.09, 0.93), aspect="equal")
    axes.axis("off")


def _tick(axes: Axes, place: Floats, corner: int, percent: int) -> None:
    """Label a grid line where it ends: C2 on the base, C3 on the right side, nC4 on the left."""
    shift = ((0.0, -0.025), (0.022, 0.008), (-0.022, 0.008))[corner]
    side = ("center", "left", "right")[corner]
    name = ("C2", "C3", "nC4")[corner]
    axes.text(place[0] + shift[0], place[1] + shift[1], f"{name} {percent}", ha=side, va="center", fontsize=7.2,
              color=style.QUIET)  # fmt: skip


def _mark_intervals(axes: Axes, log: StreamLog, shares: Floats) -> None:
    shown, left_out = summaries(log, list(shares.T))
    lines = []
    for number, one in enumerate(shown, start=1):
        if not np.isfinite(one.median).all():
            continue
        x, y = to_plane(100.0 * one.median / one.median.sum())
        axes.plot(x, y, "o", color="white", markeredgecolor="black", markersize=12, zorder=5, markeredgewidth=0.9)
        axes.text(x, y, str(number), ha="center", va="center_baseline", fontsize=7.5, zorder=6)
        c2, c3, c4 = one.median
        lines.append(f"{number:2d}  {one.label}\n     C2 {c2:.0f} %, C3 {c3:.0f} %, nC4 {c4:.0f} %")
    if lines:
        title = "Intervals" + (f" ({left_out} with less gas left out)" if left_out else "")
        axes.text(1.045, 0.995, "\n".join([title, *lines]), transform=axes.transAxes, va="top", fontsize=7.4,
                  linespacing=1.35)  # fmt: skip
