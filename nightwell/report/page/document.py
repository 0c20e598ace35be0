"""Put a page together and write it: one HTML file with Bokeh's script inside (``INLINE``), no request to any host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from bokeh.core.templates import get_env
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import MouseMove, Reset, SelectionGeometry, Tap
from bokeh.layouts import column, gridplot, row
from bokeh.models import ColumnDataSource, CustomJS, LayoutDOM, Model
from bokeh.plotting import figure
from bokeh.resources import INLINE

from nightwell.report import style
from nightwell.report.curves import UNSEEN_INDICATOR, UNSEEN_SPECIES, StreamLog, across_of
from nightwell.report.page.compared import across_columns, make_compared_tracks
from nightwell.report.page.content import (
    DECADES,
    HIGHEST_CODE,
    RESIDUAL_STEP,
    Content,
    collect,
)  # fmt: skip
from nightwell.report.page.figures import span
from nightwell.report.page.findings import findings_html, make_findings_track
from nightwell.report.page.panels import make_pixler, make_spectrum, make_ternary
from nightwell.report.page.quality import make_quality_tracks, make_time_plots, quality_html
from nightwell.report.page.tracks import TrackMaker
from nightwell.report.pixler import RATIOS
from nightwell.report.spectrum import most_gas_m
from nightwell.report.strips import reading_in_words
from nightwell.report.tracks import TRACKS
from nightwell.wells.deconvolve import SpeciesFlag
from nightwell.wells.indicators import IndicatorFlag
from nightwell.wells.interpret import find_intervals
from nightwell.wells.streams import Stream
from nightwell.whole_file import written_whole

#: Rows on the screen at a time; with more, a row is the median of its neighbours until one zooms in.
SCREEN_ROWS = 1400
#: Of the tracks under the first ones, in pixels.
LOWER_HEIGHT = 470

_HOW = (
    "Wheel over a track zooms all tracks, drag pans them; the box tools zoom to an interval or choose one for the "
    "Pixler and ternary plots. The pointer's depth is drawn over all tracks, its spectrum, ratios and values below; "
    "a click holds it, another frees it. A click on a finding or a reading zooms to it. A click on a name in a legend "
    "hides the curve. A curve is broken where it is "
    "not detected: a limit stands there as '<'. After ± stands one sigma. Amounts are ppm by volume on the "
    "sensitivities of the species library. Streams compared: 1 is the same in both, and nothing stands where one of "
    "them is not detected. Heat map: white is not above three sigma of noise, darker is more."
)


def write_page(
    result: xr.DataTree,
    path: str | PathLike[str],
    stream: Stream = Stream.TRAP_GAS,
    cube: xr.DataTree | None = None,
) -> Path:
    """Write the interactive page of a well.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`.
    path
        Where to (``.html``); written whole or not at all.
    stream
        Whose curves fill the tracks; the other streams stand in the track of samples.
    cube
        The cubes that the result was made from, for residuals in sigma of the measurement.

    Returns
    -------
    Path
        The file: at most 16 MB, opened from a folder without a network.

    Raises
    ------
    InputError
        The result has no such stream, or no depths.
    """
    target = Path(path)
    text = page_html(result, stream, cube)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as draft:
        draft.write_text(text, encoding="utf-8")
    return target


def page_html(result: xr.DataTree, stream: Stream = Stream.TRAP_GAS, cube: xr.DataTree | None = None) -> str:
    """Return the page as text; parameters and errors as :func:`write_page`."""
    log = style.cut(result, style.PlotOptions(stream=stream), "page")
    pens = [pen.name for track in TRACKS for pen in track.pens]
    content = collect(result, log, (*pens, *RATIOS), cube)
    across = across_of(result)
    document = Document(title=f"{result.attrs['well']}: {str(stream).replace('_', ' ')}")
    full = ColumnDataSource(dict(content.columns), name="full")
    drawn = [name for name in pens if f"v:{name}" in content.columns]
    empty = np.empty(0, dtype=np.float32)
    shown = ColumnDataSource(
        {
            "depth": empty,
            "row": np.empty(0, dtype=np.int32),
            **dict.fromkeys(drawn, empty),
            **{f"w:{name}": empty for name in drawn},
        }
    )
    top, bottom = float(log.depth[0]), max(float(log.depth[-1]), float(log.depth[0]) + 1e-3)
    depths = span(bottom, top, bounds=(top - 0.02 * (bottom - top) - 1, bottom + 0.02 * (bottom - top) + 1))
    maker = TrackMaker(content, shown, depths)
    tracks, others = _tracks(maker, content, result), _other_tracks(maker.lower(LOWER_HEIGHT), content, result)
    _connect([*tracks, *others])
    roots: dict[str, LayoutDOM] = {
        "tracks": _grid(tracks),
        "others": _grid(others),
        "pixler": make_pixler(),
        "ternary": make_ternary(content),
    }
    if content.heat is not None:
        roots["spectrum"] = column(*make_spectrum(content.heat))
    if times := make_time_plots(result, log):
        roots["times"] = row(*times)
    for name, root in roots.items():
        root.name = name
        document.add_root(root)
    given = {
        "full": full, "shown": shown, "depths": depths, "sources": _sources(roots.values()),
        "across": ColumnDataSource(across_columns(across)),
        "facts": _facts(content, log, drawn, across),
    }  # fmt: skip
    script = files("nightwell.report.page").joinpath("page.js").read_text(encoding="utf-8")
    document.js_on_event("document_ready", CustomJS(args=given, code=script))
    template = files("nightwell.report.page").joinpath("page.html").read_text(encoding="utf-8")
    return file_html(
        document, INLINE, title=document.title, template=get_env().from_string(template),
        template_variables={"facts": _words(result, log, content) | {"roots": list(roots)}},
    )  # fmt: skip


def _tracks(maker: TrackMaker, content: Content, result: xr.DataTree) -> list[figure]:
    """Make the tracks of a log: what was drilled, what is read, what was found, all curves, the samples."""
    curves = [made for track in TRACKS if (made := maker.curves(track)) is not None]
    found = make_findings_track(maker, result, content.log)
    return [maker.rate(result), maker.classes(), found, *curves, maker.samples(result)]


def _other_tracks(maker: TrackMaker, content: Content, result: xr.DataTree) -> list[figure]:
    """Make the tracks under them: streams compared, quality, all spectra."""
    tracks = make_quality_tracks(maker, content.log)
    across = across_of(result)
    if across is not None:
        tracks += make_compared_tracks(maker, across)
        interpretation = result["across/interpretation"].to_dataset()
        if interpretation.data_vars:
            tracks.append(maker.strips("compared", interpretation, [str(name) for name in interpretation.data_vars]))
    if content.heat is not None:
        tracks.append(maker.heat(content.heat))
    return tracks


def _grid(tracks: list[figure]) -> LayoutDOM:
    return gridplot([list(tracks)], toolbar_location="above", toolbar_options={"logo": None}, merge_tools=True)


def _sources(roots: Iterable[LayoutDOM]) -> dict[str, Model]:
    """Name the sources that the script fills."""
    return {
        str(source.name): source
        for root in roots
        for source in root.select({"type": ColumnDataSource})
        if source.name is not None
    }


def _connect(tracks: list[figure]) -> None:
    for plot in tracks:
        plot.js_on_event(MouseMove, CustomJS(code="window.nightwell?.moved(cb_obj)"))
        plot.js_on_event(Tap, CustomJS(code="window.nightwell?.tapped(cb_obj)"))
        plot.js_on_event(
            SelectionGeometry, CustomJS(code="if (cb_obj.final) window.nightwell?.selected(cb_obj.geometry)")
        )
        plot.js_on_event(Reset, CustomJS(code="window.nightwell?.selected(null)"))


def _facts(content: Content, log: StreamLog, drawn: list[str], across: xr.Dataset | None) -> dict[str, object]:
    """Return what the script needs to know besides the table."""
    facts: dict[str, object] = {
        "species": list(content.species),
        "indicators": list(content.indicators),
        "units": content.units,
        "drawn": drawn,
        "pixler": list(RATIOS),
        "unseen_species": UNSEEN_SPECIES,
        "unseen_indicator": UNSEEN_INDICATOR,
        "species_flags": [[int(bit), str(bit.name).lower()] for bit in SpeciesFlag],
        "indicator_flags": [[int(bit), str(bit.name).lower()] for bit in IndicatorFlag],
        "screen_rows": SCREEN_ROWS,
        "step": content.step,
        "across": [] if across is None else _listed(across),
        "first_depth": most_gas_m(log),
    }
    heat = content.heat
    if heat is not None:
        facts |= {
            "mz": heat.mz.tolist(),
            "heat_top": heat.top_m,
            "heat_bottom": heat.bottom_m,
            "highest_a": heat.highest_a,
            "highest_code": HIGHEST_CODE,
            "decades": DECADES,
            "residual_step": RESIDUAL_STEP,
            "design": heat.design.ravel(),
        }
    return facts


def _listed(across: xr.Dataset) -> list[list[str]]:
    """Return name, title and unit of every indicator across streams."""
    columns = (across[name].to_numpy().tolist() for name in ("indicator", "title", "units"))
    return [[str(text) for text in one] for one in zip(*columns, strict=True)]


def _words(result: xr.DataTree, log: StreamLog, content: Content) -> dict[str, object]:
    """Return the words of the page; what is marked as HTML here was escaped here."""
    attributes = result.attrs
    rows = f"{log.depth.size:,} depths"
    if content.step > 1:
        rows += f", each row the median of {content.step}"
    return {
        "well": attributes["well"],
        "line": f"{str(log.stream).replace('_', ' ')}, {log.depth[0]:,.1f} to {log.depth[-1]:,.1f} m, {rows}",
        "simulated": bool(attributes.get("simulated")),
        "simulated_words": "See provenance at the end.",
        "readings": _readings(log),
        "findings": findings_html(result),
        "quality": quality_html(result, log),
        "how": _HOW + (f" No spectra on this page: {content.why_no_heat}." if content.why_no_heat else ""),
        "provenance": _provenance({str(name): value for name, value in attributes.items()}),
    }


def _readings(log: StreamLog) -> str:
    span = float(log.depth[-1] - log.depth[0])
    found = find_intervals(log.interpretation, log.indicators, min_thickness_m=max(3.0, span / 150))
    if not found:
        return "<p>No interval has a reading.</p>"
    rows = "".join(
        f'<tr data-top="{one.top_m:g}" data-bottom="{one.bottom_m:g}">'
        f"<td>{one.top_m:,.0f}-{one.bottom_m:,.0f}&nbsp;m</td><td>{escape(reading_in_words(one))}</td></tr>"
        for one in found
    )
    return f"<table>{rows}</table>"


def _provenance(attributes: Mapping[str, object]) -> str:
    inputs = attributes["inputs"]
    named = ", ".join(f"{name} {value}" for name, value in inputs.items()) if isinstance(inputs, Mapping) else inputs
    lines = (
        ("Provenance", attributes["provenance"]),
        ("Instrument", attributes["instrument"]),
        ("Inputs", named),
        ("Species library", attributes["library_version"]),
        ("Profiles", attributes["profiles_version"]),
        ("Classes", attributes["classifications_version"]),
        ("Made by", f"nightwell {attributes['software_version']}"),
    )
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in lines)
    return f"<table>{rows}</table>"
