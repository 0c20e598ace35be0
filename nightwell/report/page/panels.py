"""The panels under the tracks: Pixler and ternary plots of the chosen depths, and the spectrum at the pointer."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, LogTicker, NumeralTickFormatter
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from nightwell.report import style
from nightwell.report.page.content import DECADES, Content, Heat
from nightwell.report.page.figures import make_figure, span, ticks
from nightwell.report.pixler import HIGH, LABELS, LOW, load_zones
from nightwell.report.ternary import CORNERS, to_plane

HEIGHT = 300


def make_pixler() -> figure:
    """Make the Pixler plot: zones, the median of the chosen depths with quartiles, and the depth at the pointer."""
    plot = _plain("Pixler: chosen depths, pointer (dashed)", 330)
    plot.x_range, plot.y_range = span(-0.35, 3.35), span(LOW, HIGH)
    for zone in load_zones():
        plot.varea(list(range(len(zone.low))), zone.low, zone.high, fill_color=zone.colour, fill_alpha=0.22)
        at = float(np.sqrt(zone.low[0] * min(zone.high[0], 2000.0)))
        plot.text([-0.3], [at], [zone.name.split(",")[0]], text_font_size="9px", text_baseline="middle")
    chosen = ColumnDataSource({"x": [0, 1, 2, 3], "low": [np.nan] * 4, "middle": [np.nan] * 4, "high": [np.nan] * 4},
                              name="pixler_chosen")  # fmt: skip
    pointer = ColumnDataSource({"x": [0, 1, 2, 3], "y": [np.nan] * 4}, name="pixler_pointer")
    plot.segment("x", "low", "x", "high", source=chosen, line_color=style.BLUE, line_width=2)
    plot.line("x", "middle", source=chosen, line_color=style.BLUE, line_width=2.2)
    plot.scatter("x", "middle", source=chosen, size=7, fill_color=style.BLUE, line_color="white")
    plot.line("x", "y", source=pointer, line_color=style.VERMILION, line_width=1.6, line_dash="dashed")
    plot.scatter("x", "y", source=pointer, size=6, fill_color=style.VERMILION, line_color="white")
    plot.xaxis.ticker = ticks(0, 1, 2, 3)
    plot.xaxis.major_label_overrides = dict(enumerate(LABELS))
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.yaxis.axis_label = "ratio"
    return plot


def make_ternary(content: Content) -> figure:
    """Make the ternary plot: every depth pale, the chosen ones dark, the pointer's marked."""
    plot = _plain("C2-C3-nC4, % of their sum", 300, logarithmic=False)
    plot.x_range, plot.y_range = span(-0.12, 1.12), span(-0.12, 1.0)
    for percent in range(20, 100, 20):
        for corner in range(3):
            ends = np.zeros((2, 3))
            ends[:, corner] = percent
            ends[0, (corner + 1) % 3] = ends[1, (corner + 2) % 3] = 100 - percent
            line = to_plane(ends)
            plot.line(line[:, 0], line[:, 1], line_color="#d4d4d4", line_width=0.8)
            plot.text([line[0, 0]], [line[0, 1]], [str(percent)], text_font_size="8px", text_color="#6e6e6e",
                      text_align=("center", "left", "right")[corner], y_offset=(10, 3, 3)[corner],
                      x_offset=(0, 3, -3)[corner])  # fmt: skip
    outline = np.vstack([CORNERS, CORNERS[:1]])
    plot.line(outline[:, 0], outline[:, 1], line_color="black")
    plot.text(CORNERS[:, 0], CORNERS[:, 1], ["C2", "C3", "nC4"], text_align="center", text_font_style="bold",
              text_font_size="11px", y_offset=[24, 24, -5])  # fmt: skip
    x, y = content.columns["ternary_x"], content.columns["ternary_y"]
    known = np.flatnonzero(np.isfinite(x.astype(np.float64)))
    every = ColumnDataSource({"x": x[known], "y": y[known]}, name="ternary_all")
    plot.scatter("x", "y", source=every, size=3, fill_color="#c9c9c9", line_color=None, fill_alpha=0.5)
    nothing = np.empty(0, dtype=np.float32)
    chosen = ColumnDataSource({"x": nothing, "y": nothing}, name="ternary_chosen")
    plot.scatter("x", "y", source=chosen, size=3.5, fill_color=style.BLUE, line_color=None, fill_alpha=0.6)
    pointer = ColumnDataSource({"x": nothing, "y": nothing}, name="ternary_pointer")
    plot.scatter("x", "y", source=pointer, size=10, fill_color=style.VERMILION, line_color="white")
    plot.axis.visible = False
    plot.grid.visible = False
    plot.outline_line_color = None
    return plot


def make_spectrum(heat: Heat) -> tuple[figure, figure]:
    """Make the spectrum at the pointer, and its residual under it."""
    across = span(float(heat.mz[0]) - 1.0, float(heat.mz[-1]) + 1.0)
    plot = _plain("Spectrum at the pointer: measured (bars), fit (ticks)", 570)
    plot.height = 195
    plot.x_range, plot.y_range = across, span(heat.highest_a * 10 ** (2 - DECADES), heat.highest_a * 3.0)
    missing = np.full(heat.mz.size, np.nan, dtype=np.float32)
    low = np.full(heat.mz.size, heat.highest_a * 10 ** (1 - DECADES))
    source = ColumnDataSource(
        {"mz": heat.mz, "low": low, "measured": missing, "fit": missing, "residual": missing}, name="spectrum"
    )
    plot.segment("mz", "low", "mz", "measured", source=source, line_color="#7fa9c9", line_width=4)
    plot.scatter("mz", "fit", source=source, marker="dash", size=8, line_color=style.VERMILION, line_width=2)
    plot.yaxis.axis_label = "ion current, A"
    plot.yaxis.ticker = LogTicker(desired_num_ticks=4)
    plot.name = "spectrum figure"
    under = _plain("", 570, logarithmic=False)
    under.height = 105
    under.x_range, under.y_range = across, span(-6.0, 6.0)
    under.vbar("mz", top="residual", width=0.7, source=source, fill_color=style.BLUE, line_color=None)
    for level in (-2.0, 2.0):
        under.add_layout(Span(location=level, dimension="width", line_dash="dotted", line_color="#6e6e6e"))
    under.xaxis.axis_label, under.yaxis.axis_label = "m/z", "resid. / sigma"
    plot.xaxis.visible = False
    plot.min_border_left = under.min_border_left = 62
    return plot, under


def _plain(title: str, width: int, *, logarithmic: bool = True) -> figure:
    scale = "log" if logarithmic else "linear"
    return make_figure(title, width, HEIGHT, tools="", y_axis_type=scale, min_border_right=8)
