"""Findings on a page: a track of what was found where, and a table that zooms, with the numbers of each statement."""

from __future__ import annotations

from html import escape

import numpy as np
import xarray as xr
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from nightwell.report.curves import StreamLog
from nightwell.report.findings import SECTIONS, evidence_in_words
from nightwell.report.page.figures import span, ticks
from nightwell.report.page.tracks import TrackMaker
from nightwell.report.tracks import FINDINGS
from nightwell.wells.findings import Finding, findings_of

_OLDER = "<p>This analysis was made before there were findings: analyse the well again.</p>"


def findings_in(result: xr.DataTree) -> tuple[Finding, ...]:
    """Return the findings of a result; none of one that has no such group."""
    if "findings" not in result.children:
        return ()
    return findings_of(result["findings"].to_dataset())


def make_findings_track(maker: TrackMaker, result: xr.DataTree, log: StreamLog) -> figure:
    """Make the track of findings: a column for each kind, a box for an interval, a line for a contact."""
    plot = maker.track("findings", 20 * len(FINDINGS), span(0.0, float(len(FINDINGS))))
    found = findings_in(result)
    thin_m = max(float(log.depth[-1] - log.depth[0]) / 900.0, 0.2)  # a contact must be seen
    columns: dict[str, list[object]] = {
        name: [] for name in ("left", "right", "top", "bottom", "colour", "kind", "where", "statement")
    }
    for column, (kind, _, colour) in enumerate(FINDINGS):
        for one in found:
            if one.kind != kind:
                continue
            room = max(0.0, thin_m - (one.bottom_m - one.top_m)) / 2.0
            row = (column + 0.1, column + 0.9, one.top_m - room, one.bottom_m + room, colour, SECTIONS[one.kind],
                   _where(one), one.statement)  # fmt: skip
            for values, value in zip(columns.values(), row, strict=True):
                values.append(value)
    source = ColumnDataSource({name: np.array(values) for name, values in columns.items()}, name="findings")
    drawn = plot.quad(
        left="left", right="right", top="top", bottom="bottom", fill_color="colour", fill_alpha=0.75, line_width=0,
        source=source,
    )  # fmt: skip
    plot.xaxis.ticker = ticks(*(k + 0.5 for k in range(len(FINDINGS))))
    plot.xaxis.major_label_overrides = {k + 0.5: label for k, (_, label, _) in enumerate(FINDINGS)}
    plot.xaxis.major_label_text_font_size = "8px"
    plot.xaxis.major_label_orientation = "vertical"
    plot.xgrid.visible = False
    tips = '<div style="max-width: 420px; white-space: normal; font-size: 11px"><b>@kind</b> @where<br>@statement</div>'
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tips))
    return plot


def findings_html(result: xr.DataTree) -> str:
    """Return the table of findings as HTML: a row zooms when clicked; its evidence opens under it."""
    if "findings" not in result.children:
        return _OLDER
    found = findings_in(result)
    parts = []
    for kind, title in SECTIONS.items():
        group = [one for one in found if one.kind is kind]
        if group:
            rows = "".join(_row(one) for one in group)
            parts.append(f"<h3>{escape(title)} ({len(group)})</h3><table>{rows}</table>")
    return "".join(parts) or "<p>Nothing was found.</p>"


def _row(one: Finding) -> str:
    return (
        f'<tr data-top="{one.top_m:g}" data-bottom="{one.bottom_m:g}"><td>{_where(one)}</td>'
        f"<td>{escape(one.statement)}.{_evidence(one)}</td></tr>"
    )


def _evidence(one: Finding) -> str:
    lines = [evidence_in_words(evidence) for evidence in one.evidence]
    lines += [f"class: {condition}" for condition in one.thresholds]
    lines += [f"but: {caveat}" for caveat in one.caveats]
    lines.append(f"rule {one.rule}: {one.source}")
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<details><summary>rests on</summary><ul>{items}</ul></details>"


def _where(one: Finding) -> str:
    stream = one.stream.replace("_", " ")
    if one.top_m == one.bottom_m:
        return f"{one.top_m:,.1f}&nbsp;m, {stream}"
    return f"{one.top_m:,.1f}-{one.bottom_m:,.1f}&nbsp;m, {stream}"
