"""Two sites in network namespaces: with a Prefect server for the proofs of line 2, without one for the others.

``NIGHTWELL_TEST_ROAD=whole`` (``make road``) runs all of them with the real Prefect server. Its start alone takes as
long as half of the proofs, so CI runs those of line 1 and the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from lines.figures import PROPERTY, Figure, table, tell
from lines.network import running_network
from lines.sites import Sites, running_sites

__all__ = ["tell"]

WHOLE = os.environ.get("NIGHTWELL_TEST_ROAD") == "whole"
collect_ignore = [] if WHOLE else ["test_line2.py"]


@pytest.fixture(scope="session")
def sites_with_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with running_network(tmp_path_factory.mktemp("road")) as network, running_sites(network, prefect=True) as sites:
        yield sites


@pytest.fixture(scope="session")
def sites_without_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with running_network(tmp_path_factory.mktemp("road")) as network, running_sites(network, prefect=False) as sites:
        yield sites


@pytest.fixture(scope="session")
def sites(request: pytest.FixtureRequest) -> Sites:
    found: Sites = request.getfixturevalue("sites_with_prefect" if WHOLE else "sites_without_prefect")
    return found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures of the proofs that ran, wherever they ran."""
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
    rows = [
        Figure(**value)
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if rows:
        terminalreporter.write_sep("=", "the road")
        terminalreporter.write_line(table(rows))
