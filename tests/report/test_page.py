"""The page in a real Chromium: no error, no request to any host, zoom and pointer linked over all tracks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from playwright.sync_api import Page, expect, sync_playwright
from tools import tool

from nightwell.errors import InputError
from nightwell.report.page.document import page_html, write_page
from nightwell.wells.streams import Stream

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WAIT_MS = 60_000
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
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tool("chromium"), args=list(FLAGS))
        opened = browser.new_page(viewport={"width": 1720, "height": 1150})
        opened.set_default_timeout(WAIT_MS)
        opened.on("console", lambda said: seen.append(said.text) if said.type in {"error", "warning"} else None)
        opened.on("pageerror", lambda error: seen.append(str(error)))
        opened.on("request", lambda asked: seen.append(asked.url) if not asked.url.startswith("file://") else None)
        opened.goto(file.as_uri())
        opened.wait_for_selector(READY)
        yield opened
        browser.close()


def place_of(page: Page, track: str) -> tuple[float, float]:
    """Return a point of the screen inside a track."""
    x, y = page.evaluate(
        """name => {
          const model = Bokeh.documents[0].get_model_by_name(name)
          const find = view => view.model === model ? view : [...view.children()].map(find).find(found => found)
          const view = Bokeh.index.roots.map(find).find(found => found)
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
    changed = result.copy()
    changed.attrs["library_version"] = "0" * 16
    text = page_html(changed)
    assert "No spectra on this page" in text
    assert '"heat"' not in text
    with pytest.raises(InputError, match="not measured"):
        page_html(result.drop_nodes("mud_fluid"), Stream.MUD_FLUID)
