"""Quality on a page: fit, scans, depth error and flags against depth; blanks and standards against time."""

from __future__ import annotations

from html import escape

import numpy as np
import xarray as xr
from bokeh.models import BasicTicker, ColumnDataSource, DatetimeTickFormatter, HoverTool, Range1d
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from nightwell.report import style
from nightwell.report.curves import StreamLog
from nightwell.report.page.figures import make_figure, span, ticks
from nightwell.report.page.tracks import TrackMaker, legend_below
from nightwell.report.quality_panel import BLANK_MZ, COLOURS, blanks_of, standards_of

_MOST_POINTS = 4000


def make_quality_tracks(maker: TrackMaker, log: StreamLog) -> list[figure]:
    """Make the tracks of fit, scans, depth error and flags of the cube."""
    return [_fit(maker, log), *_counts(maker, log), _flags(maker, log)]


def make_time_plots(result: xr.DataTree, log: StreamLog) -> list[figure]:
    """Make the plots of blanks, standards and gain against time; of a result without them, none."""
    if "qc" not in result.children:
        return []
    quality = result["qc"].to_dataset()
    plots: list[figure] = []
    blanks = blanks_of(quality, None, log.stream)
    if blanks is not None and blanks.sizes["scan"]:
        plots.append(_blanks(blanks, log))
    deviations = standards_of(quality, None)
    if deviations:
        plots.append(_standards(deviations))
    if "gain" in quality and np.isfinite(quality["gain"].to_numpy()).any():
        plots.append(_gain(quality))
    hours = quality["interval_time"].to_numpy()
    shared = Range1d(start=hours[0], end=hours[-1] + np.timedelta64(1, "h"))  # a single standard has no span of its own
    for plot in plots:
        plot.x_range = shared
    return plots


def quality_html(result: xr.DataTree, log: StreamLog) -> str:
    """Return how the scans were made ready, in words."""
    facts = {str(name): value for name, value in result[log.stream].attrs.items()}
    lines = [
        ("Baseline", facts.get("baseline")), ("Blank", facts.get("blank")),
        ("Internal standard", facts.get("internal_standard")), ("Recycled gas", facts.get("recycled")),
        ("Condition number of the library", _number(facts.get("condition_number"))),
    ]  # fmt: skip
    if "qc" in result.children:
        quality = {str(name): value for name, value in result["qc"].attrs.items()}
        lines += [
            ("Calibration", quality.get("calibration_version")), ("Dead time", quality.get("dead_time")),
            ("m/z scale", quality.get("mz_scale")),
        ]  # fmt: skip
        notes = quality.get("calibration_notes", [])
        lines += [
            ("Note", note)
            for note in ([notes] if isinstance(notes, str) else list(np.atleast_1d(np.array(notes, dtype=object))))
        ]
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in lines if value)
    return f"<table>{rows}</table>"


def _number(value: object) -> str:
    return "" if value is None else f"{float(str(value)):.0f}"


def _fit(maker: TrackMaker, log: StreamLog) -> figure:
    plot = maker.track("chi2 / freedom", 150, span(0.1, 100.0), logarithmic=True, labelled=True)
    ratio = log.species["chi2"].to_numpy() / np.maximum(log.species["freedom"].to_numpy(), 1)
    known = np.flatnonzero(np.isfinite(ratio) & (ratio > 0))
    known = known[:: max(1, -(-known.size // _MOST_POINTS))]
    source = ColumnDataSource({"x": np.clip(ratio[known], 0.1, 100.0).astype(np.float32), "y": log.depth[known]})
    plot.scatter("x", "y", source=source, size=2.5, fill_color=style.BLUE, line_color=None, fill_alpha=0.6)
    plot.add_layout(Span(location=1.0, dimension="height", line_color="black", line_width=1))
    return plot


def _counts(maker: TrackMaker, log: StreamLog) -> list[figure]:
    made = []
    for name, title, colour in (
        ("scan_count", "scans", style.BLUE), ("depth_error", "depth error, m", style.VERMILION),
    ):  # fmt: skip
        if name not in log.species:
            continue
        value = log.species[name].to_numpy().astype(np.float64)
        most = float(np.nanpercentile(value, 99.5)) if np.isfinite(value).any() else 1.0
        plot = maker.track(title, 110, span(0.0, 1.15 * max(most, 0.1)))
        step = max(1, -(-value.size // _MOST_POINTS))
        source = ColumnDataSource({"x": np.clip(value[::step], 0.0, 1.15 * max(most, 0.1)), "y": log.depth[::step]})
        plot.line("x", "y", source=source, line_color=colour, line_width=1.0)
        plot.xaxis.ticker = BasicTicker(desired_num_ticks=3)
        made.append(plot)
    return made


def _flags(maker: TrackMaker, log: StreamLog) -> figure:
    flag = log.species["cube_flag"]
    meanings = str(flag.attrs.get("flag_meanings", "")).split()
    masks = np.atleast_1d(flag.attrs.get("flag_masks", [])).tolist()
    plot = maker.track("flags of the cube", 26 * max(len(meanings), 3), span(0.0, float(max(len(meanings), 1))))
    held = [np.flatnonzero((flag.to_numpy() & mask) != 0) for mask in masks]
    source = ColumnDataSource(
        {
            "x": np.concatenate([np.zeros(0), *(np.full(rows.size, at + 0.5) for at, rows in enumerate(held))]),
            "y": np.concatenate([np.zeros(0), *(log.depth[rows] for rows in held)]),
            "name": np.concatenate(
                [np.zeros(0, dtype=object), *(np.full(rows.size, name.replace("_", " "), dtype=object)
                  for name, rows in zip(meanings, held, strict=True))]
            ),
        }
    )  # fmt: skip
    drawn = plot.scatter("x", "y", source=source, marker="dash", size=16, line_color=style.VERMILION)
    plot.xaxis.ticker = ticks(*(k + 0.5 for k in range(len(meanings))))
    plot.xaxis.major_label_overrides = {k + 0.5: name.replace("_", " ") for k, name in enumerate(meanings)}
    plot.xaxis.major_label_text_font_size = "8px"
    plot.xaxis.major_label_orientation = "vertical"
    plot.xgrid.visible = False
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=[("flag", "@name"), ("depth, m", "@y{0.0}")]))
    return plot


def _time_plot(title: str, label: str, *, logarithmic: bool = False) -> figure:
    plot = make_figure(
        title, 420, 250, tools="", x_axis_type="datetime", y_axis_type="log" if logarithmic else "linear"
    )
    number = "@value{0.00e}" if logarithmic else "@value{0.000}"
    tips = [("time", "@time{%F %H:%M}"), (label, number)]
    plot.add_tools(HoverTool(tooltips=tips, formatters={"@time": "datetime"}))
    plot.xaxis.formatter = DatetimeTickFormatter(hours="%d %b %H:%M", days="%d %b", months="%b %Y")
    plot.xaxis.axis_label, plot.yaxis.axis_label = "time, UTC", label
    return plot


def _blanks(blanks: xr.Dataset, log: StreamLog) -> figure:
    plot = _time_plot(f"blanks of {log.stream.replace('_', ' ')}", "ion current, A", logarithmic=True)
    mz = blanks["mz"].to_numpy()
    for wanted, colour in BLANK_MZ:
        if wanted not in mz:
            continue
        current = blanks["intensity"].to_numpy()[:, np.flatnonzero(mz == wanted)[0]].astype(np.float64)
        known = current > 0
        if known.any():
            source = ColumnDataSource({"time": blanks["time"].to_numpy()[known], "value": current[known]})
            plot.scatter("time", "value", source=source, size=3.5, fill_color=colour, line_color=None,
                         legend_label=f"m/z {wanted}")  # fmt: skip
    if plot.legend:
        legend_below(plot, two_columns=True, columns=5)
    return plot


def _standards(deviations: dict[str, tuple[np.ndarray, np.ndarray]]) -> figure:
    plot = _time_plot("standards: deviation", "deviation, %")
    for colour, (label, (time, change)) in zip(COLOURS, deviations.items(), strict=False):
        source = ColumnDataSource({"time": time, "value": change})
        plot.scatter("time", "value", source=source, size=5, fill_color=colour, line_color=None, legend_label=label)
    plot.add_layout(Span(location=0.0, dimension="width", line_color="black", line_width=1))
    legend_below(plot, two_columns=True)
    return plot


def _gain(quality: xr.Dataset) -> figure:
    plot = _time_plot("internal standard: mean gain of each hour", "gain")
    source = ColumnDataSource(
        {"time": quality["interval_time"].to_numpy(), "value": quality["gain"].to_numpy().astype(np.float64)}
    )
    plot.line("time", "value", source=source, line_color=style.BLUE)
    return plot
