"""Bokeh figures as the page wants them: what Bokeh's own types do not know stands here, once."""

from __future__ import annotations

from bokeh.models import FixedTicker, Range1d
from bokeh.models.annotations import Title
from bokeh.plotting import figure

GRID = "#e4e4e4"


def span(start: float, end: float, **options: object) -> Range1d:
    """Return a range; downwards when ``end`` is the smaller."""
    return Range1d(start=start, end=end, **options)  # type: ignore[arg-type]  # properties of any kind


def make_figure(title: str, width: int, height: int, **options: object) -> figure:
    """Make a figure with the page's type sizes, thin grid and no toolbar of its own."""
    plot = figure(
        width=width,
        height=height,
        title=Title(text=title, text_font_size="10.5px"),
        toolbar_location=None,
        **options,  # type: ignore[arg-type]  # as above
    )
    plot.axis.major_label_text_font_size = "9px"
    plot.axis.axis_label_text_font_size = "10px"
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.minor_tick_line_color = None
    plot.grid.grid_line_color = GRID
    return plot


def ticks(*places: float) -> FixedTicker:
    """Return ticks at fixed places."""
    return FixedTicker(ticks=list(places))
