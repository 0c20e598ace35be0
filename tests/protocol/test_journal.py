from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.samples import OPENED, FakeClock, succeed
from sqlalchemy import func, select, text, update

from nightwell.errors import ConflictError, FencedError, FormatError, InputError, NotFoundError, UnreachableError
from nightwell.protocol import (
    CancelRequested,
    Facts,
    Finished,
    Journal,
    Keeper,
    Lease,
    Leases,
    Outcome,
    Phase,
    ProtocolViolation,
    Resumed,
    Run,
    RunKind,
    Started,
    Step,
    drive,
    timeline,
)
from nightwell.protocol.database import events_table, format_table


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.db", clock=clock) as opened:
        yield opened


def test_a_run_is_what_its_events_make_it(journal: Journal) -> None:
    run = journal.open_run(OPENED)
    run = journal.append(run, Started(Step.EXPORT))
    run = journal.append(run, Finished(Step.EXPORT, Facts(export="run-1")))
    assert journal.load("run-1") == run
    assert [recorded.sequence for recorded in journal.events("run-1")] == [1, 2, 3]


def test_sqlite_keeps_what_was_appended_over_a_power_loss(journal: Journal) -> None:
    with journal.database.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2  # FULL


def test_an_event_out_of_turn_never_reaches_the_journal(journal: Journal) -> None:
    run = journal.open_run(OPENED)
    with pytest.raises(ProtocolViolation):
        journal.append(run, Started(Step.REQUEST))
    assert len(journal.events("run-1")) == 1


def test_of_two_drivers_only_one_can_append(journal: Journal) -> None:
    run = journal.open_run(OPENED)
    journal.append(run, Started(Step.EXPORT))
    with pytest.raises(FencedError, match="another driver"):
        journal.append(run, CancelRequested("late"))
    assert len(journal.events("run-1")) == 2


def test_a_token_that_was_overtaken_can_append_nothing(journal: Journal, clock: FakeClock) -> None:
    leases = Leases(journal.database, clock=clock)
    first = leases.acquire("well-7", "run-1", owner="a", ttl_s=10)
    run = journal.open_run(OPENED, token=first.token)
    run = journal.append(run, Started(Step.EXPORT), token=first.token)
    clock.advance(11)
    second = leases.claim_lapsed("well-7", owner="b", ttl_s=10)
    assert second is not None
    with pytest.raises(FencedError, match="token 1"):
        journal.append(run, Finished(Step.EXPORT), token=first.token)
    assert journal.append(run, Resumed(second.token, "b"), token=second.token).open is None


def test_a_run_is_opened_once(journal: Journal) -> None:
    journal.open_run(OPENED)
    with pytest.raises(ConflictError, match="opened twice"):
        journal.open_run(OPENED)


def test_an_unknown_run_is_named(journal: Journal) -> None:
    with pytest.raises(NotFoundError, match="run 'nobody'"):
        journal.load("nobody")
    assert journal.find("nobody") is None


def test_runs_are_listed_with_phase_and_lease(journal: Journal, clock: FakeClock) -> None:
    leases = Leases(journal.database, clock=clock)
    for number, volume in enumerate(("well-7", "well-8", "well-9")):
        clock.advance(1)
        lease = leases.acquire(volume, f"run-{number}", owner="host", ttl_s=60)
        opened = type(OPENED)(f"run-{number}", RunKind.BACKUP, OPENED.site, volume, OPENED.mode)
        run = journal.open_run(opened, token=lease.token)
        if number == 1:
            journal.append(run, CancelRequested("x"))
            leases.release(lease)
    assert [(run.run_id, run.phase) for run in journal.runs(limit=2)] == [("run-2", "forward"), ("run-1", "reverted")]
    assert [(run.run_id, run.lease_owner) for run in journal.open_runs()] == [("run-0", "host"), ("run-2", "host")]
    assert journal.stuck_runs() == ()


def test_the_seconds_of_each_step_are_in_the_journal(journal: Journal, clock: FakeClock) -> None:
    run = journal.open_run(OPENED)
    run = journal.append(run, Started(Step.EXPORT))
    clock.advance(2)
    run = journal.append(run, Finished(Step.EXPORT))
    run = journal.append(run, Started(Step.REQUEST))
    clock.advance(1000)
    run = journal.append(run, Resumed(2, "b"))
    run = journal.append(run, Started(Step.REQUEST))
    clock.advance(0.25)
    assert [(t.step, t.seconds, t.outcome) for t in timeline(journal.events("run-1"))] == [
        (Step.EXPORT, 2.0, Outcome.FINISHED),
        (Step.REQUEST, None, Outcome.INTERRUPTED),
        (Step.REQUEST, None, Outcome.UNDER_WAY),
    ]


WRITER = """
import sys, time
from protocol.samples import OPENED, succeed
from nightwell.protocol import Journal, Leases, Step, drive, keep_alive

def stand_still(context):
    print("inside", flush=True)
    time.sleep(600)

journal = Journal.open(sys.argv[1])
leases = Leases(journal.database)
lease = leases.acquire("well-7", "run-1", owner="writer", ttl_s=1.0)
journal.open_run(OPENED, token=lease.token)
with keep_alive(leases, lease) as keeper:
    drive(journal, "run-1", {**dict.fromkeys(Step, succeed), Step.REQUEST: stand_still}, lease=keeper)
"""


def wait_for_lapse(leases: Leases) -> Lease:
    """Claim the lease of a dead writer as soon as it has lapsed."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        claimed = leases.claim_lapsed("well-7", owner="recovery", ttl_s=60)
        if claimed is not None:
            return claimed
        time.sleep(0.02)
    pytest.fail("the lease of a dead writer never lapsed")


def test_a_writer_killed_inside_an_effect_leaves_a_journal_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    paths = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-c", WRITER, str(path)]
    environment = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "inside\n"
        writer.send_signal(signal.SIGKILL)
        assert writer.wait(timeout=30) == -signal.SIGKILL
    with Journal.open(path) as journal:
        left = journal.load("run-1")
        assert (left.open, left.done) == (Step.REQUEST, (Step.EXPORT,))
        seen: list[Run] = []
        leases = Leases(journal.database)
        keeper = Keeper(leases, wait_for_lapse(leases))
        effects = dict.fromkeys(Step, succeed)
        ended = drive(journal, "run-1", effects, lease=keeper, on_event=lambda run, _: seen.append(run))
        assert keeper.token == 2
        assert ended.phase is Phase.DONE
        assert ended.started == (Step.EXPORT, Step.REQUEST, Step.REQUEST, Step.WITHDRAW_EXPORT)
        assert seen[-1] == ended == journal.load("run-1")


def test_a_journal_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal, journal.database.writing() as connection:
        connection.execute(update(format_table).values(version=2))
    with pytest.raises(FormatError, match="newer release"):
        Journal.open(path)


def test_an_event_of_a_newer_release_is_refused(journal: Journal) -> None:
    journal.open_run(OPENED)
    with journal.database.writing() as connection:
        newer = select(func.replace(events_table.c.event, '"v":1', '"v":9')).scalar_subquery()
        connection.execute(update(events_table).values(event=newer))
    with pytest.raises(FormatError, match="newer release"):
        journal.load("run-1")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no database at all, but long enough to be taken for one" * 40)
    with pytest.raises(FormatError, match="another kind of file"):
        Journal.open(path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="unable to open"):
        Journal.open(tmp_path / "nowhere" / "journal.db")


def test_a_url_that_is_none_is_refused() -> None:
    for url in ("nonsense:// // //", "nonsense://host/journal"):
        with pytest.raises(InputError, match="SQLAlchemy URL"):
            Journal.open(url)


def test_a_database_that_is_locked_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightwell.protocol.database.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnreachableError, match="locked"):
            journal.open_run(OPENED)
        other.close()
        journal.open_run(OPENED)
