"""Make the pictures of docs/gallery.md: every plot of a simulated well, and its page in a browser.

    .venv/bin/python infra/make_gallery.py

The well is calibrated by the standards that its scans name; everything in it is simulated and every picture says so.
Chromium is needed (``python3 infra/fetch_tools.py chromium``). Pictures are made small: below 250 kB each.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import xarray as xr
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from nightwell.errors import NotFoundError
from nightwell.programs import find_program
from nightwell.report.page.document import write_page
from nightwell.report.plots import write_plot
from nightwell.report.style import PlotOptions
from nightwell.wells.analysis import analyse_well
from nightwell.wells.composition import published_composition
from nightwell.wells.simulate import Simulation, simulate_scans
from nightwell.wells.spectra import Imperfections

GALLERY = Path(__file__).resolve().parents[1] / "docs" / "gallery"
KINDS = ("depth-log", "pixler", "ternary", "heat-map", "spectrum", "quality")
#: Widths in pixels, tried in this order.
WIDTHS = (1200, 1000, 900, 800, 700, 600)
MOST_BYTES = 250_000
SHOW_M = 2270.0  # inside the lower of the two zones of the well


def main() -> int:
    """Make every picture; return the exit status."""
    result = analysed()
    GALLERY.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for kind in KINDS:
            options = PlotOptions(depth_m=SHOW_M) if kind == "spectrum" else PlotOptions()
            make_small(write_plot(kind, result, folder / f"{kind}.png", options), GALLERY / f"{kind}.png")
        page = write_page(result, folder / "page.html")
        for name, picture in photographed(page, folder).items():
            make_small(picture, GALLERY / f"{name}.png")
    for picture in sorted(GALLERY.glob("*.png")):
        print(f"{picture.relative_to(GALLERY.parents[1])}: {picture.stat().st_size // 1024} KiB")
    return 0


def analysed() -> xr.DataTree:
    """Return the analysis of a simulated well of 1,000 m, calibrated by its own standards."""
    imperfect = Imperfections(pattern_error=0.03)
    scans = simulate_scans(published_composition(), settings=Simulation(imperfections=imperfect, names_standards=True))
    return analyse_well(scans)


def photographed(page: Path, folder: Path) -> dict[str, Path]:
    """Open a page, hold a depth, and photograph its upper and its lower part."""
    chromium = find_program("chromium")
    if chromium is None:
        raise NotFoundError(
            "chromium",
            expected="a browser to photograph the page with",
            found="none on this machine",
            cause="it is not installed",
            next_step="python3 infra/fetch_tools.py chromium",
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": 1680, "height": 1000})
        opened.goto(page.as_uri())
        opened.wait_for_selector("body[data-ready=yes]")
        opened.evaluate(f"nightwell.tapped({{y: {SHOW_M}}})")
        pictures = {name: folder / f"{name}.png" for name in ("page", "page-quality")}
        screen(opened, pictures["page"], 0)
        screen(opened, pictures["page-quality"], 1)
        browser.close()
    return pictures


def screen(page: Page, target: Path, part: int) -> None:
    """Photograph the part of a page from its top, or from the heading of the quality on."""
    page.evaluate("part => part ? document.querySelector('.part').scrollIntoView() : scrollTo(0, 0)", part)
    page.wait_for_timeout(1000)  # Bokeh draws after it has answered
    page.screenshot(path=target)


def make_small(picture: Path, target: Path) -> None:
    """Write a picture anew, in fewer colours and, until it is small enough, fewer pixels."""
    for width in WIDTHS:
        with Image.open(picture) as read:
            height = round(read.height * width / read.width)
            small = read.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        # Thin lines in many colours: the usual choice of colours, by area, would turn them grey. What is chosen is then
        # moved to the mean of its pixels, or a class in a pale colour would take that of another.
        few = small.quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        few.save(target, optimize=True)
        if target.stat().st_size < MOST_BYTES:
            return


if __name__ == "__main__":
    sys.exit(main())
