"""Streams compared on a page: indicators across streams as points against depth, and what is read from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from nightwell.report import style
from nightwell.report.curves import UNSEEN_INDICATOR
from nightwell.report.page.figures import span
from nightwell.report.page.tracks import TrackMaker, legend_below

#: Not detected, missing, or another stream too far away, or a depth that is another indicator's.
_NOT_HERE = UNSEEN_INDICATOR | 16 | 32
_LOW, _HIGH = 0.01, 100.0
_PALETTE = (style.BLUE, style.VERMILION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY, "#7f3b08", style.BLACK)
_MARKERS = ("circle", "triangle", "square", "diamond", "inverted_triangle", "plus", "x", "asterisk")
_GROUPS = (
    ("gas compared", ("gaseous_petroleum",)),
    ("liquids, water, inorganic compared", ("liquid_petroleum", "water_soluble_organic", "inorganic")),
)


def make_compared_tracks(maker: TrackMaker, across: xr.Dataset) -> list[figure]:
    """Make a track for gas and one for the rest; 1 is the same in both streams."""
    made = []
    groups = across["group"].to_numpy().tolist()
    for title, wanted in _GROUPS:
        rows = [at for at, group in enumerate(groups) if str(group) in wanted]
        if rows:
            made.append(_track(maker, across, title, rows))
    return made


def across_columns(across: xr.Dataset | None) -> dict[str, Any]:
    """Return what the page's table of values shows: ``depth``, and ``v:n``, ``s:n`` of each indicator ``n``."""
    if across is None:
        return {}
    columns: dict[str, Any] = {"depth": across["depth"].to_numpy().astype(np.float64)}
    hidden = (across["flag"].to_numpy() & _NOT_HERE) != 0
    for at, name in enumerate(across["indicator"].to_numpy().tolist()):
        for letter, variable in (("v", "value"), ("s", "sigma")):
            value = across[variable].to_numpy()[:, at].astype(np.float32)
            columns[f"{letter}:{name}"] = np.where(hidden[:, at], np.float32(np.nan), value)
    return columns


def _track(maker: TrackMaker, across: xr.Dataset, title: str, rows: list[int]) -> figure:
    plot = maker.track(f"{title}, ratio", 300, span(_LOW, _HIGH), logarithmic=True)
    plot.add_layout(Span(location=1.0, dimension="height", line_color="#555555", line_width=1))
    columns = across_columns(across)
    for place, at in enumerate(rows):
        name, label = (str(across[which].to_numpy()[at]) for which in ("indicator", "title"))
        value = columns[f"v:{name}"].astype(np.float64)
        known = np.isfinite(value)
        source = ColumnDataSource(
            {
                "y": columns["depth"][known], "x": np.clip(value[known], _LOW, _HIGH).astype(np.float32),
                "value": value[known], "sigma": columns[f"s:{name}"][known],
            }
        )  # fmt: skip
        colour = _PALETTE[place % len(_PALETTE)]
        drawn = plot.scatter(
            "x", "y", source=source, size=4, marker=_MARKERS[place % len(_MARKERS)], fill_color=colour,
            line_color=colour, fill_alpha=0.75, legend_label=label,
        )  # fmt: skip
        tips = [(label, "@value{0.000} ± @sigma{0.000}"), ("depth, m", "@y{0.0}")]
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
    legend_below(plot, two_columns=False)
    return plot
