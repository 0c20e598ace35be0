from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nightwell.servers.process import ProcessServers
from nightwell.testing.servers import CLAUSES, Clause, ServersUnderTest, check


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_process_driver_keeps(clause: Clause, tmp_path: Path) -> None:
    check(clause, ServersUnderTest(open_driver=lambda: ProcessServers(tmp_path / "servers"), python=(sys.executable,)))
