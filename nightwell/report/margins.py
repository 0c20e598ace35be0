"""Title, track headers, footer and stamp of a depth log."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nightwell.report.curves import StreamLog
from nightwell.report.tracks import Track

_LINES_WIDTH = 230


def draw_header(axes: Axes, track: Track) -> None:
    """Draw a track's header: title, scale, and the pens with their names."""
    axes.text(0.5, 0.965, track.title, ha="center", va="top", fontsize=10.5, fontweight="bold")
    axes.text(0.03, 0.80, _end(track.low), ha="left", va="top", fontsize=8)
    axes.text(0.97, 0.80, _end(track.high), ha="right", va="top", fontsize=8)
    axes.text(0.5, 0.80, track.units, ha="center", va="top", fontsize=8, style="italic")
    axes.plot([0.0, 1.0], [0.67, 0.67], color="black", linewidth=0.8)
    columns = 2 if len(track.pens) > 4 else 1  # noqa: PLR2004 - lines that fit
    lines = -(-len(track.pens) // columns)
    for position, pen in enumerate(track.pens):
        left = 0.03 + (position // lines) * 0.5
        height = 0.58 - (position % lines) * 0.145
        if pen.style in {"-", "--", ":"}:
            axes.plot([left, left + 0.14 / columns], [height] * 2, color=pen.colour, linestyle=pen.style, linewidth=2.0)
        else:
            axes.plot([left + 0.05], [height], pen.style, color=pen.colour, markersize=5)
        axes.text(left + 0.03 + 0.14 / columns, height, pen.label, va="center", fontsize=8.5, color=pen.colour)


def _end(value: float) -> str:
    return f"{value:,.0f}" if value >= 1.0 or value == 0.0 else f"{value:g}"


def draw_title(figure: Figure, result: xr.DataTree, log: StreamLog) -> None:
    """Draw the well, the stream and the interval over all tracks."""
    stream = str(log.stream).replace("_", " ")
    figure.text(0.035, 0.984, str(result.attrs["well"]), fontsize=20, fontweight="bold", va="center")
    interval = f"{log.depth[0]:.1f} to {log.depth[-1]:.1f} m, {log.depth.size} depths"
    figure.text(0.035, 0.967, f"Mass-spectrometer depth log: {stream}, {interval}", fontsize=12.5, va="center")
    figure.text(0.99, 0.984, f"instrument: {result.attrs['instrument']}", fontsize=10, va="center", ha="right")
    versions = f"nightwell {result.attrs['software_version']}   species library {result.attrs['library_version']}"
    versions += f"   profiles {result.attrs['profiles_version']}"
    figure.text(0.99, 0.967, versions, fontsize=10, va="center", ha="right")


def draw_footer(figure: Figure, result: xr.DataTree) -> None:
    """Draw how to read the log, what it was made from, and which parts are simulated."""
    inputs = result.attrs["inputs"]
    listed = (
        ", ".join(f"{name} {version}" for name, version in inputs.items()) if isinstance(inputs, Mapping) else inputs
    )
    reading = (
        "Curves: median per printed row. Bands: one sigma. A curve is broken where it is not detected (dotted: "
        "detection limit). Shading between Wh and Bh: red gas, green oil, where total gas is at least 50 ppm. "
        "Dashed: Wh 0.5, 17.5, 40. Amounts in ppm by volume on the sensitivities of the species library."
    )
    lines = (reading, f"Inputs: {listed}.", f"Provenance: {result.attrs['provenance']}")
    wrapped = "\n".join(line for text in lines for line in textwrap.wrap(text, _LINES_WIDTH))
    figure.text(0.035, 0.054, wrapped, fontsize=8.8, va="top", linespacing=1.35)


def stamp_simulated(figure: Figure) -> None:
    """Stamp the log so that nobody takes it for a measurement."""
    figure.text(
        0.5, 0.48, "SIMULATED SPECTRA", fontsize=96, color="#c1272d", alpha=0.10, rotation=55, ha="center",
        va="center", fontweight="bold", zorder=50,
    )  # fmt: skip
    figure.text(
        0.035, 0.951, "SIMULATED: parts of this log were not measured (see provenance below)", fontsize=12.5,
        color="#c1272d", va="center", fontweight="bold",
    )  # fmt: skip
