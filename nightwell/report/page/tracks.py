"""The tracks of a page: side by side, one shared range of depths, one crosshair over all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import xarray as xr
from bokeh.models import (
    BoxSelectTool,
    BoxZoomTool,
    ColumnDataSource,
    CrosshairTool,
    CustomJSHover,
    CustomJSTickFormatter,
    HoverTool,
    LinearColorMapper,
    NumeralTickFormatter,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    WheelZoomTool,
)
from bokeh.models.annotations import ColorBar, Span, Title
from bokeh.palettes import Cividis256
from bokeh.plotting import figure

from nightwell.report.curves import stream_log
from nightwell.report.page.content import DECADES, HIGHEST_CODE, Content, Heat
from nightwell.report.page.figures import make_figure, span, ticks
from nightwell.report.tracks import CLASS_COLOURS, HAWORTH, SAMPLES, Pen, Track
from nightwell.wells.streams import Stream

HEIGHT = 610
_WIDTHS = {"C1-C5": 225, "Haworth": 165, "Pixler, oil indicator": 165, "Aromatics, C6+": 150, "Organic acids": 140,
           "Inorganic": 150}  # fmt: skip
_DASHES = {"-": "solid", "--": "dashed", ":": "dotted"}
_MARKERS = {"o": "circle", "^": "triangle", "s": "square"}
_OTHER = "#bdbdbd"
_MOST_TICKS = 6

_DECADE = "return tick > 1e6 || tick < 0.01 ? tick.toExponential(0).replace('e+', 'e') : tick.toLocaleString('en-US')"

_HOVER = """
const i = special_vars.index, data = source.data
return nightwell.in_words(name, data.row[i])
"""


class TrackMaker:
    """Makes figures that share depths, zoom, crosshair and data.

    Parameters
    ----------
    content
        The numbers.
    shown
        The rows on the screen; the page's script fills it from the whole table.
    depths
        The shared range, deeper downwards.
    height
        Of every track, in pixels.
    """

    def __init__(self, content: Content, shown: ColumnDataSource, depths: Range1d, height: int = HEIGHT) -> None:
        self._content = content
        self._shown = shown
        self._depths = depths
        self._height = height
        self._line = Span(dimension="width", line_dash="dotted", line_color="#333333", line_width=1)

    def rate(self, result: xr.DataTree) -> figure:
        """Make the track of depths and rate of penetration."""
        plot = self.track("ROP, m/h", 118, span(100.0, 0.0), labelled=True)
        if "drilling" in result.children:
            drilling = result["drilling"].to_dataset()
            log = self._content.log
            rate = np.interp(log.depth, drilling["depth"].to_numpy(), drilling["rop"].to_numpy())
            step = max(1, -(-rate.size // 2000))
            source = ColumnDataSource({"y": log.depth[::step], "x": np.clip(rate[::step], 0, 100).astype(np.float32)})
            plot.harea("x", 0.0, "y", source=source, fill_color="#d9d9d9")
            plot.line("x", "y", source=source, line_color="black", line_width=0.8)
        return plot

    def classes(self) -> figure:
        """Make the strips of fluid classes."""
        interpretation = self._content.log.interpretation
        names = [name for name in ("haworth", "pixler", "oil_indicator") if name in interpretation]
        return self.strips("classes", interpretation, names)

    def strips(self, title: str, interpretation: xr.Dataset, names: list[str]) -> figure:
        """Make a strip of colours for each classification."""
        plot = self.track(title, 29 * max(len(names), 3), span(0.0, float(max(len(names), 1))))
        boxes = _class_boxes(interpretation, names)
        drawn = plot.quad(
            left="left", right="right", top="top", bottom="bottom", fill_color="colour", line_width=0, source=boxes
        )
        plot.xaxis.ticker = ticks(*(k + 0.5 for k in range(len(names))))
        short = {"oil_indicator": "oil i.", "fluid_relation": "relation", "where_petroleum_is": "petroleum"}
        plot.xaxis.major_label_overrides = {
            k + 0.5: short.get(name, name.replace("_", " ")) for k, name in enumerate(names)
        }
        plot.xaxis.major_label_text_font_size = "8px"
        plot.xaxis.major_label_orientation = "vertical"
        plot.xgrid.visible = False
        tips = [("class", "@meaning"), ("reads", "@kind"), ("depths, m", "@top{0.0} to @bottom{0.0}")]
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
        return plot

    def curves(self, track: Track) -> figure | None:
        """Make a track of curves; ``None`` when the result has none of them."""
        pens = [pen for pen in track.pens if f"v:{pen.name}" in self._content.columns]
        if not pens:
            return None
        plot = self.track(
            f"{track.title}, {track.units}", _WIDTHS.get(track.title, 150), span(track.low, track.high),
            logarithmic=track.logarithmic,
        )  # fmt: skip
        for pen in pens:
            plot.line(
                pen.name, "depth", source=self._shown, line_color=pen.colour, line_dash=_DASHES[pen.style],
                line_width=1.2 * pen.width + 0.3, legend_label=pen.label,
            )  # fmt: skip
        if track is HAWORTH:
            for bound in (0.5, 17.5, 40.0):
                plot.add_layout(Span(location=bound, dimension="height", line_color="#0b5fa5", line_dash="dashed",
                                     line_width=0.6))  # fmt: skip
        self._hover(plot, pens, float(np.sqrt(track.low * track.high)))
        longest = max(len(pen.label) for pen in pens)
        legend_below(plot, two_columns=12.0 * longest + 60.0 < _WIDTHS.get(track.title, 150))
        return plot

    def samples(self, result: xr.DataTree) -> figure:
        """Make the track of the discrete samples of other streams: total gas by symbols."""
        plot = self.track("samples, ppm", 140, span(0.1, 1e5), logarithmic=True)
        log = self._content.log
        for stream, label, colour, marker in SAMPLES:
            if stream == log.stream or stream not in result.children:
                continue
            other = stream_log(result, Stream(stream), float(log.depth[0]), float(log.depth[-1]))
            curve = other.curve("total_gas")
            if curve is None:
                continue
            source = ColumnDataSource({
                "y": other.depth, "x": np.clip(curve.value, 0.1, 1e5).astype(np.float32),
                "sigma": curve.sigma.astype(np.float32),
            })  # fmt: skip
            drawn = plot.scatter("x", "y", source=source, marker=_MARKERS[marker], size=4, fill_color=colour,
                                 line_color=None, legend_label=label)  # fmt: skip
            tips = [(label, "@x{0,0.0} ± @sigma{0,0.0} ppm"), ("depth, m", "@y{0.0}")]
            plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
        if plot.renderers:
            legend_below(plot, two_columns=False)
        else:
            plot.title = Title(text="samples: not in this analysis", text_font_size="10.5px", align="center")
        return plot

    def lower(self, height: int) -> TrackMaker:
        """Return a maker of tracks of another height, under the same pointer and on the same depths."""
        other = TrackMaker(self._content, self._shown, self._depths, height)
        other._line = self._line
        return other

    def heat(self, heat: Heat) -> figure:
        """Make the heat map."""
        plot = self.track("m/z, ion current", 270, span(float(heat.mz[0]) - 0.5, float(heat.mz[-1]) + 0.5))
        source = ColumnDataSource({"codes": [heat.codes], "residual": [heat.residual]}, name="heat")
        mapper = LinearColorMapper(palette=list(reversed(Cividis256)), low=1, high=HIGHEST_CODE, low_color="white")
        plot.image(
            "codes", x=float(heat.mz[0]) - 0.5, y=heat.top_m, dw=float(heat.mz.size), dh=heat.bottom_m - heat.top_m,
            color_mapper=mapper, source=source,  # type: ignore[call-arg]  # Bokeh's types lack it
        )  # fmt: skip
        decades = np.log10(heat.highest_a) - DECADES
        codes = [(power - decades) / DECADES * HIGHEST_CODE for power in range(int(np.ceil(decades)), int(decades) + 9)]
        bar = ColorBar(
            color_mapper=mapper, width=7, height=self._height - 250, padding=2, label_standoff=4,
            major_label_text_font_size="8px",
            ticker=ticks(*codes),
            formatter=CustomJSTickFormatter(
                args={"low": decades, "scale": DECADES / HIGHEST_CODE},
                code="return '1e' + Math.round(low + tick * scale) + ' A'",
            ),
        )  # fmt: skip
        plot.add_layout(bar, "right")
        plot.grid.visible = False
        return plot

    def _hover(self, plot: figure, pens: list[Pen], middle: float) -> None:
        """Show all curves of the track at the pointer's depth: an unseen line of points takes the pointer."""
        unseen = plot.scatter(x=middle, y="depth", source=self._shown, size=1, alpha=0.0)
        words = {pen.name: CustomJSHover(args={"source": self._shown, "name": pen.name}, code=_HOVER) for pen in pens}
        plot.add_tools(HoverTool(
            renderers=[unseen], mode="hline", attachment="left", point_policy="follow_mouse",
            limit=1,
            tooltips=[("depth, m", "@depth{0.0}"), *((pen.label, f"@{{w:{pen.name}}}{{custom}}") for pen in pens)],
            formatters={f"@{{w:{name}}}": formatter for name, formatter in words.items()},
        ))  # fmt: skip

    def track(
        self, title: str, width: int, across: Range1d, *, logarithmic: bool = False, labelled: bool = False
    ) -> figure:
        """Return an empty track that shares depths, zoom and crosshair with all others."""
        wheel = WheelZoomTool(dimensions="height")
        tools = [
            PanTool(dimensions="height"), wheel, BoxZoomTool(dimensions="height"),
            BoxSelectTool(dimensions="height", persistent=True), ResetTool(), SaveTool(),
            CrosshairTool(overlay=self._line),
        ]  # fmt: skip
        plot = make_figure(
            title, width + (52 if labelled else 0), self._height, y_range=self._depths, x_range=across, tools=tools,
            x_axis_type="log" if logarithmic else "linear", x_axis_location="above", min_border=0, min_border_right=3,
            output_backend="canvas", active_scroll=wheel, name=f"track {title}",
        )  # fmt: skip
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[0]")
        if labelled:
            plot.yaxis.axis_label = "measured depth, m"
            plot.yaxis.axis_label_text_font_style = "normal"
        else:
            plot.yaxis.visible = False
        if logarithmic:
            plot.xaxis.formatter = CustomJSTickFormatter(code=_DECADE)
            decades = [10.0**k for k in range(*_decades(across))]
            # At the ends labels would meet those of the next track.
            plot.xaxis.ticker = ticks(*decades[1 : -1 : 2 if len(decades) > _MOST_TICKS else 1])
            plot.xgrid.ticker = ticks(*decades)
        return plot


def legend_below(plot: figure, *, two_columns: bool, columns: int = 2) -> None:
    """Put the legend under its figure, close-set; a click on a name hides the curve."""
    legend = plot.legend[0]
    legend.location = "left"
    legend.label_text_font_size = "9px"
    legend.glyph_width, legend.glyph_height = 14, 8
    legend.update(spacing=-4, padding=2, margin=0, label_standoff=3)
    legend.border_line_color = None
    legend.ncols = columns if two_columns else 1
    legend.click_policy = "hide"
    plot.add_layout(legend, "below")


def _decades(across: Range1d) -> tuple[int, int]:
    """Return the powers of ten of a range's ends, the second one past the end."""
    low, high = (round(float(np.log10(float(str(end))))) for end in (across.start, across.end))
    return low, high + 1


def _class_boxes(interpretation: xr.Dataset, names: list[str]) -> ColumnDataSource:
    """Return one box for each run of depths of the same classes; classes that hold together share the width."""
    columns: dict[str, list[object]] = {
        name: [] for name in ("left", "right", "top", "bottom", "colour", "meaning", "kind")
    }
    depth = interpretation["depth"].to_numpy()
    edges = np.concatenate([depth[:1], (depth[1:] + depth[:-1]) / 2.0, depth[-1:]])
    for position, name in enumerate(names):
        variable = interpretation[name]
        bits, title = variable.to_numpy(), str(variable.attrs["long_name"])
        meanings = str(variable.attrs["flag_meanings"]).split()
        masks = np.atleast_1d(variable.attrs["flag_masks"]).tolist()
        cuts = [0, *(np.flatnonzero(np.diff(bits)) + 1).tolist(), bits.size]
        for start, stop in pairwise(cuts):
            held = [meaning for meaning, mask in zip(meanings, masks, strict=True) if bits[start] & mask]
            for at, meaning in enumerate(held):
                row = (position + at / len(held), position + (at + 1) / len(held), edges[start], edges[stop],
                       CLASS_COLOURS.get(meaning, _OTHER), meaning.replace("_", " "), title)  # fmt: skip
                for column, value in zip(columns.values(), row, strict=True):
                    column.append(value)
    return ColumnDataSource({name: np.array(values) for name, values in columns.items()})
