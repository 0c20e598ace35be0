"""The page in a real Chromium: no error, no request to any host, zoom and pointer linked over all tracks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from browser import open_browser
from playwright.sync_api import Page, expect

from nightwell.errors import InputError
from nightwell.report.page.document import page_html, write_page
from nightwell.wells.findings import FindingKind, findings_of
from nightwell.wells.streams import Stream

READY = "body[data-ready=yes]"
_DEPTHS = "() => [nightwell.depths.end, nightwell.depths.start]"


@pytest.fixture(scope="module")
def file(result: xr.DataTree, cube: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(result, tmp_path_factory.mktemp("page") / "well.html", cube=cube)


@pytest.fixture(scope="module")
def seen() -> list[str]:
    """Everything that the browser said or asked for, and should not have."""
    return []


@pytest.fixture(scope="module")
def page(file: Path, seen: list[str]) -> Iterator[Page]:
    """The page in a browser, once for the module: a start takes seconds."""
    with open_browser(1720, 1150) as opened:
        opened.on("console", lambda said: seen.append(said.text) if said.type in {"error", "warning"} else None)
        opened.on("pageerror", lambda error: seen.append(str(error)))
        opened.on("request", lambda asked: seen.append(asked.url) if not asked.url.startswith("file://") else None)
        opened.goto(file.as_uri())
        opened.wait_for_selector(READY)
        yield opened


def place_of(page: Page, track: str) -> tuple[float, float]:
    """Return a point of the screen inside a track, scrolled to."""
    x, y = page.evaluate(
        """name => {
          const model = Bokeh.documents[0].get_model_by_name(name)
          const find = view => view.model === model ? view : [...view.children()].map(find).find(found => found)
          const view = Bokeh.index.roots.map(find).find(found => found)
          view.el.scrollIntoView({block: "center"})
          const box = view.el.getBoundingClientRect(), inner = view.frame.bbox
          return [box.x + inner.x + inner.width / 2, box.y + inner.y + inner.height / 2]
        }""",
        track,
    )
    return float(x), float(y)


def test_it_needs_nothing_from_any_host(page: Page, seen: list[str], file: Path) -> None:
    assert page.evaluate("nightwell.table.depth.length") > 100
    assert seen == []
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", file.read_text())
    assert file.stat().st_size < 16e6


def test_it_says_that_it_is_simulated_and_what_it_is_made_from(page: Page, result: xr.DataTree) -> None:
    expect(page.locator("#nightwell-simulated")).to_contain_text("SIMULATED")
    expect(page.locator("body")).to_contain_text(str(result.attrs["library_version"]))
    expect(page.locator("body")).to_contain_text(str(result.attrs["inputs"]["scans"]))


def test_zooming_one_track_moves_all_and_brings_detail(page: Page) -> None:
    top, bottom = page.evaluate(_DEPTHS)
    page.mouse.move(*place_of(page, "track C1-C5, ppm"))
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"nightwell.depths.start < {bottom} && nightwell.depths.end > {top}")
    ranges = page.evaluate(
        """() => Bokeh.documents[0].roots().flatMap(root => [...root.select({type: "Figure"})])
          .filter(plot => plot.name?.startsWith("track")).map(plot => [plot.y_range.end, plot.y_range.start])"""
    )
    assert len(ranges) >= 8
    assert len({tuple(one) for one in ranges}) == 1
    page.wait_for_function("nightwell.shown.data.depth.length < nightwell.table.depth.length")
    page.evaluate(f"nightwell.zoom({top}, {bottom})")
    page.wait_for_function("nightwell.shown.data.depth.length === nightwell.table.depth.length")


def test_the_pointer_shows_values_with_sigma_and_moves_the_panels(page: Page) -> None:
    x, y = place_of(page, "track Haworth, Wh %; Bh, Ch")
    page.mouse.move(x, y - 40)
    page.mouse.move(x, y)
    page.wait_for_function("nightwell.state.row > 0")
    tooltip = page.locator(".bk-Tooltip, .bk-tooltip").filter(has_text="Wh").first
    expect(tooltip).to_contain_text(re.compile(r"Wh.*\d.* ± \d", re.DOTALL))
    values = page.evaluate(
        "() => [nightwell.sources.spectrum.data.fit.some(Number.isFinite), "
        "nightwell.in_words('methane', nightwell.state.row)]"
    )
    assert values[0] is True
    assert re.fullmatch(r"[\d,.]+ ± [\d,.]+ ppm", values[1])


def test_a_finding_stands_in_the_track_and_in_the_table_which_zooms_and_says_what_it_rests_on(
    page: Page, result: xr.DataTree
) -> None:
    found = findings_of(result["findings"].to_dataset())
    assert page.locator("#nightwell-findings tr[data-top]").count() == len(found)
    drawn = page.evaluate("nightwell.sources.findings.data.statement.length")
    assert drawn == sum(one.kind is not FindingKind.NOT_ASSESSED for one in found) > 0
    contact = next(one for one in found if one.kind is FindingKind.CONTACT)
    line = page.locator("#nightwell-findings tr[data-top]").filter(has_text=contact.statement[:40]).first
    before = page.evaluate(_DEPTHS)
    line.locator("summary").click()
    expect(line).to_contain_text(contact.evidence[0].title)
    expect(line).to_contain_text(contact.rule)
    assert page.evaluate(_DEPTHS) == before, "opening the evidence does not zoom"
    line.locator("td").first.click()
    page.wait_for_function(
        f"nightwell.depths.end > {contact.top_m - 20} && nightwell.depths.start < {contact.bottom_m + 20}"
    )
    page.evaluate(f"nightwell.zoom({before[0]}, {before[1]})")


def test_streams_compared_and_quality_are_on_it_under_the_same_pointer(page: Page, result: xr.DataTree) -> None:
    names = page.evaluate(
        "() => Bokeh.documents[0].roots().flatMap(root => [...root.select({type: 'Figure'})]).map(plot => plot.name)"
    )
    for track in (
        "track gas compared, ratio",
        "track chi2 / freedom",
        "track flags of the cube",
        "track m/z, ion current",
    ):
        assert track in names
    x, y = place_of(page, "track gas compared, ratio")
    page.mouse.move(x, y - 30)
    page.mouse.move(x, y)
    page.wait_for_function("nightwell.state.row > 0")
    page.locator("#nightwell-details summary").click()
    expect(page.locator("#nightwell-values")).to_contain_text("C1/C2, trap gas against crush")
    across = result["across/indicators"].to_dataset().sel(indicator="c1_c2_trap_crush")
    shown = page.evaluate("nightwell.across.data['v:c1_c2_trap_crush'].filter(Number.isFinite).length")
    assert shown == int(np.isfinite(across["value"].to_numpy()).sum()) > 0
    expect(page.locator("#nightwell-quality")).to_contain_text("Condition number of the library")
    page.locator("#nightwell-details summary").click()


def test_a_narrow_window_scrolls_its_tracks_and_nothing_else(page: Page) -> None:
    page.set_viewport_size({"width": 800, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 800
    page.set_viewport_size({"width": 1720, "height": 1150})


def test_a_click_holds_the_depth_and_a_selection_chooses_depths(page: Page) -> None:
    x, y = place_of(page, "track C1-C5, ppm")
    page.mouse.click(x, y)
    held = page.evaluate("nightwell.state.row")
    page.mouse.move(x, y + 150)
    assert page.evaluate("[nightwell.state.pinned, nightwell.state.row]") == [True, held]
    page.mouse.click(x, y)
    page.evaluate("nightwell.selected({y0: 1820, y1: 1840})")
    expect(page.locator("#nightwell-chosen")).to_contain_text("1,820.0 to 1,840.0 m (selected)")
    ratio = page.evaluate("nightwell.sources.pixler_chosen.data.middle[0]")
    assert 2 < ratio < 65, "the middle of the zone is gas of Ekofisk"


def test_nothing_went_wrong_meanwhile(page: Page, seen: list[str]) -> None:
    assert page.title()
    assert seen == []


def test_without_the_library_of_the_analysis_it_says_that_spectra_are_missing(result: xr.DataTree) -> None:
    species = result["trap_gas/species"].to_dataset()
    changed = result.copy()
    changed["trap_gas/species"] = xr.DataTree(species.drop_vars("response"))
    changed.attrs["library_version"] = "0" * 16
    text = page_html(changed.drop_nodes(["findings", "across", "qc"]))
    assert "made before there were findings" in text
    assert "No spectra on this page" in text
    assert '"heat"' not in text
    with pytest.raises(InputError, match="not measured"):
        page_html(result.drop_nodes("mud_fluid"), Stream.MUD_FLUID)
