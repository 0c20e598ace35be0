from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tools import tool

from nightwell.servers.port import VirtualServers
from nightwell.servers.process import ProcessServers
from nightwell.servers.runc import RuncServers
from nightwell.testing.servers import CLAUSES, Clause, ServersUnderTest, check


def open_runc(directory: Path) -> VirtualServers:
    tool("runc")
    return RuncServers(directory)


DRIVERS: dict[str, Callable[[Path], VirtualServers]] = {"process": ProcessServers, "runc": open_runc}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_driver_keeps(driver: str, clause: Clause, tmp_path: Path) -> None:
    open_driver = DRIVERS[driver]
    check(clause, ServersUnderTest(open_driver=lambda: open_driver(tmp_path / "servers"), python=(sys.executable,)))
