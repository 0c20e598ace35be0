"""Newer code on an older journal: every journal that was ever written is read, and its open runs are recovered."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from protocol.golden.make import PAIRS, journals, rows_of, write_journal
from protocol.golden.parts import DestinationParts, source_effects

from nightwell.arrays.port import PairState
from nightwell.protocol import Journal, Lease, Leases, Phase, Run, RunKind, Site, Step, may_pass, verdict
from nightwell.protocol.tables import PAIR_EXISTED
from nightwell.sites.destination_site import DestinationSite
from nightwell.sites.ledger import Ledger
from nightwell.sites.source import SourceEffects


@pytest.fixture(params=journals(), ids=lambda file: file.stem)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An older journal, a year after its drivers died."""
    file = tmp_path / "journal.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(request.param.read_text())
    with Journal.open(file, clock=lambda: datetime(2027, 1, 1, tzinfo=UTC)) as journal:
        yield Ledger(journal, Leases(journal.database, clock=journal.clock))


def recover(ledger: Ledger) -> tuple[Run, ...]:
    """Recover with the effects that today's sites have."""
    made: Any = DestinationParts  # in place of effects that need machines
    nowhere: Any = None  # nor does what is recovered here ask the array or the store itself
    there = DestinationSite(nowhere, made, ledger, nowhere)

    def resume(run: Run, lease: Lease) -> Run:
        if run.opened.site is Site.DESTINATION:
            return there._drive(run.run_id, lease)
        here = left_by(run)
        effects = here.backup() if run.opened.kind is RunKind.BACKUP else here.restore()
        return ledger.drive(run.run_id, effects, lease)

    return ledger.recover(resume)


def left_by(run: Run) -> SourceEffects:
    """Return the source's effects on an array as a killed run left it."""
    pairs, volume, secondary = dict(PAIRS), str(run.facts["volume"]), run.facts.get("secondary")
    if Step.CREATE_PAIR in run.started:
        pairs[volume] = PairState.PAIR
    if Step.SPLIT in run.started and Step.RESYNC not in run.started:
        pairs[volume] = PairState.PSUS
    elif run.opened.kind is RunKind.BACKUP and Step.RESYNC_STALE in run.started:
        pairs[volume] = PairState.PAIR
    return source_effects(pairs, [str(secondary)] if Step.CREATE_SECONDARY in run.started else [])


def test_the_newest_golden_journal_is_what_todays_code_writes() -> None:
    newest = journals()[-1]
    assert rows_of(newest.read_text()) == rows_of(write_journal()), (
        "the journal has changed: keep the golden ones, and add today's with "
        "'PYTHONPATH=tests python -m protocol.golden.make'"
    )


def test_every_run_is_read_as_it_was_recorded(ledger: Ledger) -> None:
    summaries = ledger.journal.runs(1000)
    assert len(summaries) > 50
    for summary in summaries:
        run = ledger.journal.load(summary.run_id)
        assert (run.phase, run.volume) == (summary.phase, summary.volume)
        assert verdict(run)


def test_every_open_run_is_recovered(ledger: Ledger) -> None:
    before = {summary.run_id: ledger.journal.load(summary.run_id) for summary in ledger.journal.runs(1000)}
    unfinished = {run_id for run_id, run in before.items() if run.is_open or may_pass(run)}
    recovered = {run.run_id: run for run in recover(ledger)}
    assert recovered.keys() == unfinished
    for run_id, run in recovered.items():
        assert run.phase in {Phase.DONE, Phase.REVERTED}, run
        assert run.leftovers == ()
        # Nobody failed before they were cut off but those that were on their way back already.
        forward = before[run_id].phase is Phase.FORWARD and before[run_id].open is not Step.COMMIT
        assert run.committed or not forward
        if Step.CREATE_SECONDARY in run.started:
            assert Step.DELETE_SECONDARY in run.done or not run.committed
        if run.opened.kind is RunKind.BACKUP and run.committed and PAIR_EXISTED.holds(run.facts):
            assert Step.RESYNC in run.done or Step.SPLIT not in run.started
    assert ledger.journal.open_runs() == ()
