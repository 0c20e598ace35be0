"""The shared look of all single plots: colours, type sizes, the frame that says what a plot was made from, files.

The colours are those of Wong2011, told apart with every common colour blindness; continuous scales are cividis
(Nunez2018), which also survives a grey printer.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.report.curves import StreamLog, stream_log
from nightwell.wells.streams import Stream
from nightwell.whole_file import written_whole

Floats = NDArray[np.float64]

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7",
)  # fmt: skip
QUIET = "#6e6e6e"
SIMULATED_COLOUR = "#a3231f"
CONTINUOUS = "cividis"
CURRENT = "cividis_r"  # on white paper more is darker: what barely stands above its noise must not catch the eye
DIVERGING = "PuOr"

FORMATS = (".png", ".pdf")

WIDTH_IN, HEIGHT_IN, DPI = 11.0, 8.0, 160
LEFT, RIGHT, TOP, BOTTOM = 0.08, 0.965, 0.85, 0.195
#: What fits under the axes' labels: characters of a line, and lines.
_FOOTER_WIDTH, _FOOTER_LINES = 196, 8


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """Which part of a result a plot shows.

    Parameters
    ----------
    stream
        Whose curves.
    top_m, bottom_m
        Interval of depths, m; ``None`` for all of it.
    depth_m
        The depth of a plot of one depth; ``None`` for the depth with most gas.
    """

    stream: Stream = Stream.TRAP_GAS
    top_m: float | None = None
    bottom_m: float | None = None
    depth_m: float | None = None


def cut(result: xr.DataTree, options: PlotOptions, subject: str) -> StreamLog:
    """Return the stream and the interval that a plot shows.

    Raises
    ------
    InputError
        The result has no such stream, or no depth in the interval.
    """
    if options.stream not in result.children:
        raise InputError(
            f"{subject} of stream {options.stream} of well {result.attrs.get('well')}",
            expected=f"one of {', '.join(name for name in result.children if name in tuple(Stream))}",
            found="no result of that stream",
            cause="the stream was not measured in this well",
            next_step="choose a stream that is there",
        )
    top = -np.inf if options.top_m is None else options.top_m
    bottom = np.inf if options.bottom_m is None else options.bottom_m
    log = stream_log(result, options.stream, top, bottom)
    if log.depth.size == 0:
        depth = result[options.stream]["species"]["depth"].to_numpy()
        raise InputError(
            f"{subject} of well {result.attrs.get('well')}",
            expected=f"an interval within {depth.min():g} to {depth.max():g} m" if depth.size else "any depth",
            found=f"{top:g} to {bottom:g} m",
            cause="the interval lies outside the well, or its ends are exchanged",
            next_step="choose depths inside the interval that was measured",
        )
    return log


def new_figure() -> Figure:
    """Return an empty figure of the common size, on its own canvas: no state is shared, so threads may draw."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def frame(figure: Figure, result: xr.DataTree, title: str, notes: str) -> None:
    """Write round a plot what it shows, of which well, from which versions, and whether anything is simulated."""
    attributes = result.attrs
    figure.text(LEFT, 0.962, shortened(str(attributes["well"]), 56), fontsize=15, fontweight="bold", va="center")
    figure.text(LEFT, 0.929, title, fontsize=10.5, va="center")
    figure.text(RIGHT, 0.962, shortened(str(attributes["instrument"]), 78), fontsize=7.5, va="center", ha="right")
    versions = (
        f"nightwell {attributes['software_version']} · species {attributes['library_version']} · "
        f"profiles {attributes['profiles_version']}"
    )
    figure.text(RIGHT, 0.940, versions, fontsize=7.5, va="center", ha="right")
    lines = [*textwrap.wrap(notes, _FOOTER_WIDTH), *footer_lines(result, _FOOTER_WIDTH)]
    if len(lines) > _FOOTER_LINES:
        lines[_FOOTER_LINES - 1 :] = ["… the rest of the provenance stands on the page and in `nightwell well report`."]
    figure.text(LEFT, 0.012, "\n".join(lines), fontsize=6.8, va="bottom", linespacing=1.3, color="#333333")
    if attributes.get("simulated"):
        figure.text(
            LEFT, 0.898, "SIMULATED: parts of this plot were not measured (see provenance below)", fontsize=9,
            color=SIMULATED_COLOUR, fontweight="bold", va="center",
        )  # fmt: skip
        figure.text(
            0.5, 0.5, "SIMULATED", fontsize=92, color=SIMULATED_COLOUR, alpha=0.07, rotation=32, ha="center",
            va="center", fontweight="bold", zorder=50,
        )  # fmt: skip


def footer_lines(result: xr.DataTree, width: int) -> list[str]:
    """Return the lines that name inputs and provenance."""
    inputs = result.attrs["inputs"]
    named = ", ".join(f"{name} {value}" for name, value in inputs.items()) if isinstance(inputs, Mapping) else inputs
    texts = (f"Inputs: {named}.", f"Provenance: {result.attrs['provenance']}")
    return [line for text in texts for line in textwrap.wrap(text, width)]


def tidy(axes: Axes) -> None:
    """Give axes the common grid, and take away the lines that carry nothing."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="#d4d4d4", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)


def absent(axes: Axes, what: str) -> None:
    """Say in an empty panel that something is not there."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, f"{what}:\nnot in this analysis", transform=axes.transAxes, ha="center", va="center",
              fontsize=9, color=QUIET)  # fmt: skip


def shortened(text: str, length: int) -> str:
    """Return a text of at most ``length`` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def depths_in_words(log: StreamLog) -> str:
    """Return stream, interval and number of depths."""
    stream = str(log.stream).replace("_", " ")
    return f"{stream}, {log.depth[0]:,.1f} to {log.depth[-1]:,.1f} m, {log.depth.size:,} depths"


def write_figure(draw: Callable[[], Figure], path: str | PathLike[str], dpi: int = DPI) -> Path:
    """Write a plot as PNG or PDF, as the name ends; whole or not at all.

    Parameters
    ----------
    draw
        Draws it; called after the name was checked.
    path
        ``.png`` or ``.pdf``.
    dpi
        Resolution of a PNG, and of the parts of a PDF that are pictures.

    Returns
    -------
    Path
        The file. The same plot gives the same bytes: no date is in it.

    Raises
    ------
    InputError
        The name ends otherwise.
    """
    target = Path(path)
    special = target.exists() and not target.is_file()  # a folder is refused below; a device has no ending
    suffix = FORMATS[0] if special else target.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"plot file {target.name}",
            expected=f"a name ending in {' or '.join(FORMATS)}",
            found=repr(suffix),
            cause="the ending says which kind of file is written",
            next_step="give the file another name",
        )
    figure = draw()
    FigureCanvasAgg(figure)
    target.parent.mkdir(parents=True, exist_ok=True)
    dates = {"CreationDate": None} if suffix == ".pdf" else {"Software": None}
    with written_whole(target) as draft:
        figure.savefig(draft, format=suffix[1:], dpi=dpi, metadata=dates)
    return target
