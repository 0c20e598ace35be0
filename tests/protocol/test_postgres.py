"""The journal on a real PostgreSQL server, which several hosts can share: the same promises as on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from postgres import Postgres, postgres

from nightwell.errors import BusyError, ConflictError, FencedError
from nightwell.protocol import BackupMode, Facts, Lease, Opened, RunKind, Site
from nightwell.sites.ledger import Ledger


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def ledgers(server: Postgres) -> Iterator[tuple[Ledger, Ledger]]:
    """Two processes' views of one journal."""
    url = server.url("psycopg", "journal")
    opened = Ledger.open(url), Ledger.open(url)
    yield opened
    for ledger in opened:
        ledger.close()


def opened(run_id: str, volume: str) -> Opened:
    return Opened(run_id, RunKind.BACKUP, Site.SOURCE, volume, BackupMode.SPLIT, Facts({"volume": volume}))


def test_a_run_is_read_back_by_another_host_and_its_volume_is_taken(ledgers: tuple[Ledger, Ledger]) -> None:
    here, there = ledgers
    lease = here.begin(opened("run-1", "well"))
    assert there.journal.load("run-1").volume == "well"
    with pytest.raises(BusyError, match="run-1"):
        there.begin(opened("run-2", "well"))
    taken = there.seize("well", "run-1")
    assert taken.token == lease.token + 1
    with pytest.raises(FencedError):
        here.leases.renew(lease)


def test_of_many_that_come_at_once_exactly_one_gets_the_volume(ledgers: tuple[Ledger, Ledger]) -> None:
    def begin(number: int) -> Lease | None:
        try:
            return ledgers[number % 2].begin(opened(f"race-{number}", "contested"))
        except ConflictError:
            return None

    with ThreadPoolExecutor(8) as pool:
        won = [lease for lease in pool.map(begin, range(16)) if lease is not None]
    assert len(won) == 1
    assert ledgers[0].leases.holder("contested").run_id == won[0].run_id
    assert won[0].expires_at > datetime.now(UTC)
