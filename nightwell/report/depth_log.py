"""The depth log: what a mud logger hangs on the wall, as one PNG.

Everything goes through Matplotlib's object interface and the Agg canvas: no global state, so that workers of a
cluster can draw at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.report.curves import StreamLog, stream_log, thin
from nightwell.report.margins import draw_footer, draw_header, draw_title, stamp_simulated
from nightwell.report.strips import draw_findings, draw_readings, draw_strips
from nightwell.report.tracks import HAWORTH, SAMPLES, TRACKS, Pen, Track
from nightwell.wells.streams import Stream
from nightwell.whole_file import written_whole

Floats = NDArray[np.float64]

_HEADER_SHARE = 0.085
_TITLE_SHARE = 0.058
_FOOTER_SHARE = 0.062
_LIMIT_ALPHA = 0.55
_BAND_ALPHA = 0.22
_SHADE_ALPHA = 0.30


@dataclass(frozen=True, slots=True)
class DepthLogOptions:
    """How a depth log is drawn.

    Parameters
    ----------
    stream
        Whose curves fill the tracks; samples of other streams stand in a track of their own.
    top_m, bottom_m
        Interval; ``None`` for all of it.
    width_in, height_in, dpi
        Paper.
    """

    stream: Stream = Stream.TRAP_GAS
    top_m: float | None = None
    bottom_m: float | None = None
    width_in: float = 22.0
    height_in: float = 26.0
    dpi: int = 110


def write_depth_log(result: xr.DataTree, path: str | PathLike[str], options: DepthLogOptions | None = None) -> Path:
    """Write the depth log of a result as PNG.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    path
        Where to; written whole or not at all.
    options
        How.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        The result has no such stream, or no depth in the interval.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as draft:
        draft.write_bytes(depth_log_png(result, options))
    return target


def depth_log_png(result: xr.DataTree, options: DepthLogOptions | None = None) -> bytes:
    """Return the depth log as the bytes of a PNG; parameters and errors as :func:`write_depth_log`."""
    options = options or DepthLogOptions()
    figure = draw_depth_log(result, options)
    buffer = BytesIO()
    FigureCanvasAgg(figure)  # the figure draws itself on the canvas it is given
    figure.savefig(buffer, format="png", dpi=options.dpi)
    return buffer.getvalue()


def draw_depth_log(result: xr.DataTree, options: DepthLogOptions | None = None) -> Figure:
    """Draw the depth log on a new figure; parameters and errors as :func:`write_depth_log`."""
    options = options or DepthLogOptions()
    log = _cut(result, options)
    figure = Figure(figsize=(options.width_in, options.height_in), dpi=options.dpi, facecolor="white")
    tracks = _tracks_with_data(log)
    shares = [0.75, 0.42, 0.75, *(track.share for track in tracks), 1.0, 1.35]
    bodies, headers = _grid(figure, shares)
    rows = round(options.height_in * options.dpi / 2)
    _draw_rate(bodies[0], headers[0], result, log, rows)
    draw_strips(bodies[1], headers[1], log)
    draw_findings(bodies[2], headers[2], result, log)
    for body, header, track in zip(bodies[3:-2], headers[3:-2], tracks, strict=True):
        _draw_track(body, track, log, rows)
        draw_header(header, track)
    _draw_samples(bodies[-2], headers[-2], result, log)
    draw_readings(bodies[-1], headers[-1], log)
    for body in bodies:
        _finish(body, log)
    for body in (bodies[2], bodies[-1]):
        body.grid(visible=False, which="both", axis="x")
    _label_depths(bodies[0])
    draw_title(figure, result, log)
    draw_footer(figure, result)
    if result.attrs.get("simulated"):
        stamp_simulated(figure)
    return figure


def _cut(result: xr.DataTree, options: DepthLogOptions) -> StreamLog:
    if options.stream not in result.children:
        raise InputError(
            f"stream {options.stream} of well {result.attrs.get('well')}",
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
            f"depth log of well {result.attrs.get('well')}",
            expected=f"an interval within {depth.min():g} to {depth.max():g} m" if depth.size else "any depth",
            found=f"{top:g} to {bottom:g} m",
            cause="the interval lies outside the well, or its ends are exchanged",
            next_step="choose depths inside the interval that was measured",
        )
    return log


def _tracks_with_data(log: StreamLog) -> tuple[Track, ...]:
    return tuple(track for track in TRACKS if any(log.curve(pen.name) is not None for pen in track.pens))


def _grid(figure: Figure, shares: list[float]) -> tuple[list[Axes], list[Axes]]:
    gap, left, right = 0.004, 0.035, 0.99
    width = right - left - gap * (len(shares) - 1)
    top = 1.0 - _TITLE_SHARE - _HEADER_SHARE
    bodies, headers = [], []
    at = left
    for share in shares:
        wide = width * share / sum(shares)
        headers.append(figure.add_axes((at, top + 0.002, wide, _HEADER_SHARE - 0.004)))
        bodies.append(figure.add_axes((at, _FOOTER_SHARE, wide, top - _FOOTER_SHARE)))
        at += wide + gap
    for header in headers:
        header.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    return bodies, headers


def _draw_track(axes: Axes, track: Track, log: StreamLog, rows: int) -> None:
    axes.set_xlim(track.low, track.high)
    if track.logarithmic:
        axes.set_xscale("log")
    for pen in track.pens:
        _draw_curve(axes, pen, track, log, rows)
    if track is HAWORTH:
        _shade_crossing(axes, log, rows)


def _draw_curve(axes: Axes, pen: Pen, track: Track, log: StreamLog, rows: int) -> None:
    curve = log.curve(pen.name)
    if curve is None:
        return
    depth, columns = thin(log.depth, np.stack([curve.value, curve.sigma, curve.limit], axis=1), rows)
    value, sigma, limit = columns.T
    inside = np.clip(value, track.low, track.high)
    low, high = (np.clip(value + sign * sigma, track.low, track.high) for sign in (-1.0, 1.0))
    axes.fill_betweenx(depth, low, high, color=pen.colour, alpha=_BAND_ALPHA, linewidth=0)
    axes.plot(inside, depth, color=pen.colour, linestyle=pen.style, linewidth=pen.width)
    if track.limits:
        axes.plot(limit, depth, color=pen.colour, linestyle=":", linewidth=0.6, alpha=_LIMIT_ALPHA)


def _shade_crossing(axes: Axes, log: StreamLog, rows: int) -> None:
    """Shade between Wh and Bh: gas where Wh is the smaller, oil where they have crossed."""
    wetness, balance, gas = (log.curve(name) for name in ("haworth_wetness", "haworth_balance", "total_gas"))
    if wetness is None or balance is None:
        return
    enough = np.ones(log.depth.size) if gas is None else np.where(gas.value >= 50.0, 1.0, np.nan)  # noqa: PLR2004 - as in classes.toml
    depth, columns = thin(log.depth, np.stack([wetness.value * enough, balance.value * enough], axis=1), rows)
    low, high = HAWORTH.low, HAWORTH.high
    wet, bal = np.clip(columns[:, 0], low, high), np.clip(columns[:, 1], low, high)
    known = np.isfinite(wet) & np.isfinite(bal)
    gas_side, oil_side = known & (wet <= bal) & (columns[:, 1] <= 100.0), known & (wet > bal)  # noqa: PLR2004 - Haworth
    axes.fill_betweenx(depth, wet, bal, where=gas_side, color="#ef6548", alpha=_SHADE_ALPHA, linewidth=0)
    axes.fill_betweenx(depth, wet, bal, where=oil_side, color="#1a9850", alpha=_SHADE_ALPHA, linewidth=0)
    for bound in (0.5, 17.5, 40.0):
        axes.axvline(bound, color="#0b5fa5", linewidth=0.5, linestyle=(0, (6, 4)), alpha=0.6)


def _draw_rate(axes: Axes, header: Axes, result: xr.DataTree, log: StreamLog, rows: int) -> None:
    """Rate of penetration, fast to the left as on every mud log."""
    pen = Pen("rop", "ROP", "black")
    axes.set_xlim(100.0, 0.0)
    if "drilling" in result.children:
        drilling = result["drilling"].to_dataset()
        rate = np.interp(log.depth, drilling["depth"].to_numpy(), drilling["rop"].to_numpy())
        depth, columns = thin(log.depth, rate[:, None].astype(np.float64), rows)
        axes.plot(np.clip(columns[:, 0], 0.0, 100.0), depth, color=pen.colour, linewidth=0.6)
        axes.fill_betweenx(depth, np.clip(columns[:, 0], 0, 100), 0.0, color="#d9d9d9", linewidth=0)
    draw_header(header, Track("ROP", "m/h", (pen,), 100.0, 0.0, logarithmic=False))


def _draw_samples(axes: Axes, header: Axes, result: xr.DataTree, log: StreamLog) -> None:
    """Total hydrocarbon gas of discrete samples: filled where it was detected, else an empty symbol at the limit."""
    axes.set_xscale("log")
    axes.set_xlim(0.1, 1e5)
    pens = []
    for stream, label, colour, marker in SAMPLES:
        if stream == log.stream or stream not in result.children:
            continue
        other = stream_log(result, Stream(stream), float(log.depth[0]), float(log.depth[-1]))
        curve = other.curve("total_gas")
        if curve is None:
            continue
        step = max(1, other.depth.size // 250)
        value = np.clip(curve.value, 0.1, 1e5)
        axes.plot(value[::step], other.depth[::step], marker, color=colour, markersize=2.6, linestyle="none")
        pens.append(Pen(stream, label, colour, marker))
    draw_header(header, Track("Samples, gas", "ppm", tuple(pens), 0.1, 1e5))


def _finish(axes: Axes, log: StreamLog) -> None:
    axes.set_ylim(float(log.depth[-1]), float(log.depth[0]))
    if axes.get_xscale() == "log":
        axes.xaxis.set_major_locator(LogLocator(10.0, numticks=12))
        axes.xaxis.set_minor_locator(LogLocator(10.0, subs=(2, 3, 4, 5, 6, 7, 8, 9), numticks=12))
    axes.xaxis.set_major_formatter(NullFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(_depth_locator(log, 22))
    axes.yaxis.set_minor_locator(_depth_locator(log, 110))
    axes.grid(which="major", color="#9a9a9a", linewidth=0.45)
    axes.grid(which="minor", color="#dcdcdc", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", left=False, bottom=False, labelleft=False)


def _label_depths(axes: Axes) -> None:
    axes.tick_params(which="major", left=True, labelleft=True, labelsize=10)
    axes.set_ylabel("measured depth, m", fontsize=11)


def _depth_locator(log: StreamLog, intervals: int) -> FixedLocator:
    """Ticks at round depths (1, 2 or 5 times a power of ten), about ``intervals`` of them."""
    span = max(float(log.depth[-1] - log.depth[0]), 1e-3)
    power = 10.0 ** np.floor(np.log10(span / intervals))
    step = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if span / (power * factor) <= intervals)
    first = np.ceil(float(log.depth[0]) / step) * step
    return FixedLocator(np.arange(first, float(log.depth[-1]) + 0.5 * step, step).tolist())
