from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tools import WHOLE_MACHINES, tool

from nightwell.servers.port import VirtualServers
from nightwell.servers.process import ProcessServers
from nightwell.servers.qemu import QemuServers
from nightwell.servers.runc import RuncServers
from nightwell.testing import server_isolation_clauses as isolation
from nightwell.testing import servers as suite
from nightwell.testing.servers import CLAUSES, Clause, ServersUnderTest, check


def open_runc(directory: Path) -> VirtualServers:
    tool("runc")
    return RuncServers(directory)


def open_qemu(directory: Path) -> VirtualServers:
    tool("qemu-system-x86_64")
    return QemuServers(directory, guest_directory=directory.parents[1] / "guest")  # made once for all tests


DRIVERS: dict[str, Callable[[Path], VirtualServers]] = {"process": ProcessServers, "runc": open_runc}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_driver_keeps(driver: str, clause: Clause, tmp_path: Path) -> None:
    open_driver = DRIVERS[driver]
    check(clause, ServersUnderTest(open_driver=lambda: open_driver(tmp_path / "servers"), python=(sys.executable,)))


# An emulated machine takes seconds to start: in CI the clauses that only a machine could break; `make machines`: all.
QUICK_CLAUSES = (
    suite.runs_the_program,
    suite.leaves_nothing_unstarted,
    isolation.limits_processes,
    isolation.reaches_nothing_else,
)
MACHINE_CLAUSES = CLAUSES if WHOLE_MACHINES else QUICK_CLAUSES


@pytest.mark.parametrize("clause", MACHINE_CLAUSES, ids=lambda clause: clause.__name__)
def test_machines_keep(clause: Clause, tmp_path: Path) -> None:
    check(clause, ServersUnderTest(open_driver=lambda: open_qemu(tmp_path / "servers"), python=(sys.executable,)))
