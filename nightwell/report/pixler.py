"""The Pixler plot: C1/C2 to C1/C5 on a logarithmic axis, the zones shaded, one line per interval (Pixler1969)."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, StrMethodFormatter
from numpy.typing import NDArray

from nightwell.report import style
from nightwell.report.curves import StreamLog
from nightwell.report.intervals import Summary, summaries

Floats = NDArray[np.float64]

RATIOS = ("pixler_c1_c2", "pixler_c1_c3", "pixler_c1_c4", "pixler_c1_c5")
LABELS = ("C1/C2", "C1/C3", "C1/C4", "C1/C5")
LOW, HIGH = 0.5, 5000.0

_MOST_THIN_LINES = 300
_NEAR = 1.15  # heights, as a ratio, whose numbers would cover each other


@dataclass(frozen=True, slots=True)
class PixlerZone:
    """One fluid: its limits at C1/C2, C1/C3 and C1/C4, and its colour."""

    name: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    colour: str


def load_zones() -> tuple[PixlerZone, ...]:
    """Read the zones that ship, upwards."""
    text = files("nightwell.report").joinpath("data/pixler_zones.toml").read_text(encoding="utf-8")
    return tuple(
        PixlerZone(one["name"], tuple(one["low"]), tuple(one["high"]), one["colour"])
        for one in tomllib.loads(text)["zone"]
    )


def write_pixler(result: xr.DataTree, path: str | PathLike[str], options: style.PlotOptions | None = None) -> Path:
    """Write the Pixler plot as PNG or PDF; errors as :func:`draw_pixler` and :func:`~.style.write_figure`."""
    return style.write_figure(lambda: draw_pixler(result, options), path)


def draw_pixler(result: xr.DataTree, options: style.PlotOptions | None = None) -> Figure:
    """Draw the Pixler plot of one stream on a new figure.

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
    log = style.cut(result, options or style.PlotOptions(), "Pixler plot")
    figure = style.new_figure()
    axes = figure.add_axes((style.LEFT, style.BOTTOM, 0.58, style.TOP - style.BOTTOM))
    _shade(axes)
    ratios = ratios_of(log)
    shown, left_out = summaries(log, list(ratios.T))
    colours = _depth_colours(log)
    _thin_lines(axes, log, ratios, colours)
    for number, one in enumerate(shown, start=1):
        _bold_line(axes, one, number, colours)
    _number(axes, shown)
    _finish(axes)
    if shown:
        _legend(axes, left_out)
    bar = figure.colorbar(colours, ax=None, cax=figure.add_axes((0.695, style.BOTTOM, 0.012, 0.17)))
    bar.ax.invert_yaxis()
    bar.set_label("measured depth, m", fontsize=8)
    bar.ax.tick_params(labelsize=7.5)
    bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    nothing = "" if np.isfinite(ratios).any() else " No ratio is detected in this interval."
    notes = (
        "Bold, with the number of the interval: median over an interval of one Haworth reading, bars its quartiles, "
        "where a ratio is detected at half of the depths or more. "
        f"Thin: single depths with 50 ppm or more, at most {_MOST_THIN_LINES}. Zones: Pixler "
        "(1969) with the limits of mud-logging practice; none are given for C1/C5. The class 'pixler' of the depth "
        f"log reads C1/C2 alone, by its own, overlapping limits.{nothing}"
    )
    style.frame(figure, result, f"Pixler plot: {style.depths_in_words(log)}", notes)
    return figure


def ratios_of(log: StreamLog) -> Floats:
    """Return the four ratios, float64 (depth, ratio); NaN where not detected."""
    curves = [log.curve(name) for name in RATIOS]
    missing = np.full(log.depth.size, np.nan)
    return np.stack([missing if curve is None else curve.value for curve in curves], axis=1)


def _shade(axes: Axes) -> None:
    for zone in load_zones():
        at = np.arange(len(zone.low))
        axes.fill_between(at, zone.low, zone.high, color=zone.colour, alpha=0.20, linewidth=0)
        axes.plot(at, zone.high, color=zone.colour, linewidth=0.8, alpha=0.8)
        middle = float(np.sqrt(max(zone.low[0], LOW) * min(zone.high[0], HIGH)))
        axes.text(-0.2, middle, zone.name.replace(", ", ",\n"), fontsize=8.5, va="center", ha="right", color="#333333")


def _thin_lines(axes: Axes, log: StreamLog, ratios: Floats, colours: ScalarMappable) -> None:
    known = np.flatnonzero(np.isfinite(ratios).sum(axis=1) > 1)
    gas = log.curve("total_gas")
    if gas is not None:
        known = known[gas.value[known] >= 50.0]  # noqa: PLR2004 - as in classes.toml: ratios of background say nothing
    for row in known[:: max(1, -(-known.size // _MOST_THIN_LINES))]:
        axes.plot(range(4), ratios[row], color=_colour(colours, float(log.depth[row])), linewidth=0.5, alpha=0.25)


def _bold_line(axes: Axes, one: Summary, number: int, colours: ScalarMappable) -> None:
    colour = _colour(colours, one.middle_m)
    axes.errorbar(
        range(4), one.median, yerr=[one.median - one.low, one.high - one.median], color=colour, marker="o",
        markersize=5, markeredgecolor="white", markeredgewidth=0.6, linewidth=2.0, elinewidth=0.9, capsize=2.5,
        label=f"{number}  {one.label}\n{style.shortened(one.reading or 'no Haworth class in most of it', 44)}",
    )  # fmt: skip


def _number(axes: Axes, shown: Sequence[Summary]) -> None:
    """Write the numbers of the intervals beside their first points; those that would cover each other together."""
    for (first, height), numbers in together(shown).items():
        axes.annotate(
            runs_of(numbers), (first, height), xytext=(-7, 0), textcoords="offset points", fontsize=7.5, ha="right",
            va="center", color="#333333", fontweight="bold",
        )  # fmt: skip


def together(shown: Sequence[Summary]) -> dict[tuple[int, float], list[int]]:
    """Return the numbers of intervals by where their lines begin: axis and height, those of near ones together."""
    begins = [
        (int(known[0]), float(one.median[known[0]]), number)
        for number, one in enumerate(shown, start=1)
        if (known := np.flatnonzero(np.isfinite(one.median))).size
    ]
    groups: dict[tuple[int, float], list[int]] = {}
    for first, height, number in sorted(begins):
        near = [place for place in groups if place[0] == first and height < place[1] * _NEAR]
        groups.setdefault(near[-1] if near else (first, height), []).append(number)
    return groups


def runs_of(numbers: Sequence[int]) -> str:
    """Return numbers as text, consecutive ones as a run: ``1-3, 7``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _legend(axes: Axes, left_out: int) -> None:
    title = "Intervals" + (f" ({left_out} with less gas left out)" if left_out else "")
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.04, 1.0), fontsize=7.2, title=title, title_fontsize=9, frameon=False,
        alignment="left", borderaxespad=0.0, labelspacing=0.45,
    )  # fmt: skip


def _finish(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set(ylim=(LOW, HIGH), xlim=(-0.95, 3.15))
    axes.set_xticks(range(4), LABELS)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_ylabel("ratio")
    style.tidy(axes)
    axes.tick_params(axis="x", labelsize=10)


def _colour(colours: ScalarMappable, depth_m: float) -> tuple[float, float, float, float]:
    red, green, blue, alpha = np.ravel(colours.to_rgba(np.array([depth_m]))).tolist()
    return red, green, blue, alpha


def _depth_colours(log: StreamLog) -> ScalarMappable:
    low, high = float(log.depth[0]), float(log.depth[-1])
    return ScalarMappable(Normalize(low, max(high, low + 1e-6)), mpl.colormaps[style.CONTINUOUS].reversed())
