"""Strips of fluid classes, and the readings in words beside them."""

from __future__ import annotations

import textwrap

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from nightwell.report.curves import StreamLog
from nightwell.report.tracks import CLASS_COLOURS, FINDINGS
from nightwell.wells.findings import findings_of
from nightwell.wells.interpret import Interval, find_intervals

_STRIPS = (("haworth", "Haworth"), ("pixler", "Pixler"), ("oil_indicator", "oil ind."))
_ROWS_OF_TEXT = 150
_LINE_WIDTH = 34
_STRIP_ROWS = 1400
_STRIP_COLUMNS = 12  # divides by 1, 2, 3 and 4 classes that hold together
_OTHER = "#bdbdbd"


def draw_strips(axes: Axes, header: Axes, log: StreamLog) -> None:
    """Draw one strip of colours per classification; a strip of overlapping zones is divided among them."""
    shown = [(name, label) for name, label in _STRIPS if name in log.interpretation]
    header.text(0.5, 0.965, "Classes", ha="center", va="top", fontsize=10.5, fontweight="bold")
    axes.set_xlim(0.0, max(len(shown), 1))
    for position, (name, label) in enumerate(shown):
        variable = log.interpretation[name]
        axes.imshow(
            _strip_image(log, variable),
            extent=(position, position + 1.0, float(log.depth[-1]), float(log.depth[0])),
            aspect="auto",
            interpolation="nearest",
            zorder=2,
        )
        header.text(
            (position + 0.5) / len(shown), 0.60, label, rotation=90, ha="center", va="top", fontsize=8.5
        )  # fmt: skip


def draw_findings(axes: Axes, header: Axes, result: xr.DataTree, log: StreamLog) -> None:
    """Draw a column for each kind of finding: a box for an interval, a line for a contact."""
    header.text(0.5, 0.965, "Findings", ha="center", va="top", fontsize=10.5, fontweight="bold")
    axes.set_xlim(0.0, len(FINDINGS))
    found = findings_of(result["findings"].to_dataset()) if "findings" in result.children else ()
    thin_m = float(log.depth[-1] - log.depth[0]) / _STRIP_ROWS * 2.0  # a contact must be seen
    for column, (kind, label, colour) in enumerate(FINDINGS):
        header.text((column + 0.5) / len(FINDINGS), 0.72, label, rotation=90, ha="center", va="top", fontsize=7.6,
                    color=colour)  # fmt: skip
        for one in found:
            if one.kind == kind:
                room = max(0.0, thin_m - (one.bottom_m - one.top_m)) / 2.0
                thickness = one.bottom_m - one.top_m + 2.0 * room
                axes.add_patch(Rectangle((column + 0.1, one.top_m - room), 0.8, thickness, color=colour, alpha=0.75,
                                         linewidth=0))  # fmt: skip


def draw_readings(axes: Axes, header: Axes, log: StreamLog) -> None:
    """Write what the classes say, interval by interval, with the colours' legend in the header."""
    header.text(0.5, 0.965, "Reading (Haworth)", ha="center", va="top", fontsize=10.5, fontweight="bold")
    _legend(header)
    axes.set_xlim(0.0, 1.0)
    span = float(log.depth[-1] - log.depth[0])
    intervals = find_intervals(log.interpretation, log.indicators, min_thickness_m=max(3.0, span / 150))
    row = span / _ROWS_OF_TEXT
    # Half a row from the frame: the first words would touch it, the last would be cut by it.
    free_from, free_to = float(log.depth[0]) + row / 2.0, float(log.depth[-1]) - row / 2.0
    for interval in intervals:
        colour = _colour_at(log, interval.top_m, interval.bottom_m)
        thickness = interval.bottom_m - interval.top_m
        axes.add_patch(Rectangle((0.0, interval.top_m), 0.035, thickness, color=colour, linewidth=0))
        words = f"{interval.top_m:.0f}-{interval.bottom_m:.0f} m: {reading_in_words(interval, brief=True)}"
        lines = textwrap.wrap(words, _LINE_WIDTH)
        needed = len(lines) * row
        start = max(min(interval.top_m, free_to - needed), free_from)
        if start + needed > min(max(interval.bottom_m, interval.top_m + needed + row / 2.0), free_to):
            continue  # no room: the strip beside it still shows the class
        axes.text(0.06, start, "\n".join(lines), fontsize=7.6, va="top", linespacing=1.15, clip_on=True)
        free_from = start + needed


def reading_in_words(interval: Interval, *, brief: bool = False) -> str:
    """Return what all classifications say of an interval, the median of the total gas, and whether methods differ.

    With ``brief`` it is not said which method stands for which fluid.
    """
    first = "Haworth class"
    parts = [interval.readings[first]] if first in interval.readings else []
    parts += [f"{title}: {text}" for title, text in interval.readings.items() if title != first]
    gas = interval.values.get("total_gas", float("nan"))
    dissent = [interval.dissent.split(":")[0] if brief else interval.dissent] if interval.dissent else []
    return "; ".join([*parts, f"median gas {gas:.0f} ppm", *dissent])


def _strip_image(log: StreamLog, variable: xr.DataArray) -> NDArray[np.float64]:
    """Return RGBA, one row per printed row; classes that hold together share the width."""
    rows = min(_STRIP_ROWS, log.depth.size)
    at = np.searchsorted(log.depth, np.linspace(log.depth[0], log.depth[-1], rows)).clip(max=log.depth.size - 1)
    bits = variable.to_numpy()[at]
    meanings = str(variable.attrs["flag_meanings"]).split()
    colours = np.array([to_rgba(CLASS_COLOURS.get(meaning, _OTHER)) for meaning in meanings])
    image = np.ones((rows, _STRIP_COLUMNS, 4))
    for row, value in enumerate(bits):
        held = [k for k, mask in enumerate(variable.attrs["flag_masks"]) if value & mask]
        if held:
            image[row] = colours[[held[column * len(held) // _STRIP_COLUMNS] for column in range(_STRIP_COLUMNS)]]
    return image


def _colour_at(log: StreamLog, top_m: float, bottom_m: float) -> str:
    variable = log.interpretation["haworth"]
    bits = variable.to_numpy()[(log.depth >= top_m) & (log.depth <= bottom_m)]
    shares = [np.mean((bits & mask) != 0) for mask in variable.attrs["flag_masks"]]
    return CLASS_COLOURS.get(str(variable.attrs["flag_meanings"]).split()[int(np.argmax(shares))], _OTHER)


def _legend(header: Axes) -> None:
    entries = (
        ("light_dry_gas", "dry gas"), ("gas", "gas"), ("condensate", "condensate"), ("high_gravity_oil", "light oil"),
        ("medium_gravity_oil", "medium oil"), ("oil", "oil"), ("low_gravity_oil", "heavy oil"),
        ("residual_oil", "residual oil"),
    )  # fmt: skip
    for position, (name, label) in enumerate(entries):
        left, height = 0.04 + 0.5 * (position // 4), 0.72 - 0.18 * (position % 4)
        header.add_patch(Rectangle((left, height - 0.06), 0.07, 0.12, facecolor=CLASS_COLOURS[name], linewidth=0))
        header.text(left + 0.09, height, label, va="center", fontsize=8.2)
