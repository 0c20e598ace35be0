"""A real headless Chromium, the one that Debian packages; it asks no host but the one that a test opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright
from tools import tool

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

#: A busy machine draws slowly; what does not come at all is found by the test's own time-out.
WAIT_MS = 120_000


@contextmanager
def open_browser(width: int, height: int) -> Iterator[Page]:
    """Open an empty page of that size."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=tool("chromium"), args=list(_FLAGS))
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(WAIT_MS)
        yield page
        browser.close()
