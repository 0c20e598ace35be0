"""Write a journal as today's code writes it: ``PYTHONPATH=tests python -m protocol.golden.make``.

It holds runs of every kind, many of them cut off at each of their steps, as a killed driver leaves them.

The journals in this folder are never changed and never deleted: they are what sites hold on the day they upgrade. When
today's code writes another one (a new step, fact or format), this adds it under the next number.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from protocol.golden.parts import VERSION, DestinationParts, failing, source_effects
from protocol.samples import FreeHold

from nightwell.arrays.port import PairState
from nightwell.errors import ConflictError, NightwellError, UnknownOutcomeError, UnreachableError
from nightwell.protocol import (
    BackupMode,
    Event,
    Facts,
    Journal,
    Leases,
    Mode,
    Opened,
    Phase,
    Reopened,
    Resolved,
    RestoreMode,
    RunKind,
    Site,
    Started,
    Step,
    UndoStarted,
    drive,
)
from nightwell.sites.destination_site import opened_backup, opened_restore
from nightwell.sites.ledger import Effects
from nightwell.sites.requests import BackupRequest, RestoreRequest

FOLDER = Path(__file__).parent
RELEASE = "0.1.0"
_IN_MEMORY = "sqlite://"
PAIRS = {"paired": PairState.PAIR, "stale": PairState.PSUS}

Faults = Mapping[Step, type[NightwellError]]


@dataclass(frozen=True)
class Story:
    """One kind of run; ``cut`` leaves one run for every step at which its driver died."""

    name: str
    kind: RunKind
    site: Site
    mode: Mode = BackupMode.SPLIT
    volume: str = "lone"
    faults: Faults = field(default_factory=dict)
    cut: bool = False
    then: tuple[Event, ...] = ()

    def opened(self, run_id: str) -> Opened:
        """Return how such a run is opened, by the sites' own code where it has some."""
        if self.site is Site.DESTINATION and self.kind is RunKind.BACKUP:
            return opened_backup(_backup_request(run_id, self.volume))
        if self.site is Site.DESTINATION:
            return opened_restore(_restore_request(run_id, self.volume))
        if self.kind is RunKind.RESTORE:
            facts = Facts({"volume": self.volume, "version": "latest", "target": "third"})
            return Opened(run_id, self.kind, self.site, "third", self.mode, facts)
        facts = Facts({"volume": self.volume, "mode": self.mode.value, "keep_pair": False, "block_bytes": None})
        return Opened(run_id, self.kind, self.site, self.volume, self.mode, facts)

    def effects(self, opened: Opened) -> Effects:
        """Return the effects of such a run."""
        made: Effects
        if self.site is Site.SOURCE:
            site = source_effects(PAIRS)
            made = site.backup() if self.kind is RunKind.BACKUP else site.restore()
        elif self.kind is RunKind.BACKUP:
            made = DestinationParts().backup(_backup_request(opened.run_id, self.volume))
        else:
            made = DestinationParts().restore(_restore_request(opened.run_id, self.volume))
        return failing(made, self.faults)


_SOURCE, _DESTINATION = Site.SOURCE, Site.DESTINATION
_REFUSED: Faults = {Step.REQUEST: ConflictError}

STORIES = (
    Story("split-lone", RunKind.BACKUP, _SOURCE, cut=True),
    Story("split-paired", RunKind.BACKUP, _SOURCE, volume="paired"),
    Story("split-stale", RunKind.BACKUP, _SOURCE, volume="stale"),
    Story("pair-lone", RunKind.BACKUP, _SOURCE, BackupMode.PAIR),
    Story("direct", RunKind.BACKUP, _SOURCE, BackupMode.DIRECT),
    Story("refused-lone", RunKind.BACKUP, _SOURCE, faults=_REFUSED),
    Story("refused-paired", RunKind.BACKUP, _SOURCE, volume="paired", faults=_REFUSED, cut=True),
    Story("waiting", RunKind.BACKUP, _SOURCE, faults={**_REFUSED, Step.FENCE: UnknownOutcomeError}),
    Story("silent", RunKind.BACKUP, _SOURCE, faults={Step.WITHDRAW_EXPORT: UnreachableError}),
    Story("stuck", RunKind.BACKUP, _SOURCE, faults={Step.WITHDRAW_EXPORT: ConflictError}),
    Story(
        "reopened",
        RunKind.BACKUP,
        _SOURCE,
        faults={Step.WITHDRAW_EXPORT: ConflictError},
        then=(Reopened("a person"),),
    ),
    Story(
        "resolved",
        RunKind.BACKUP,
        _SOURCE,
        faults={Step.WITHDRAW_EXPORT: ConflictError},
        then=(Resolved("a person", "by hand"),),
    ),
    Story("restore", RunKind.RESTORE, _SOURCE, RestoreMode.VOLUME, cut=True),
    Story("carried-out", RunKind.BACKUP, _DESTINATION, cut=True),
    Story("failed-copy", RunKind.BACKUP, _DESTINATION, faults={Step.COPY: UnreachableError}),
    Story("restored", RunKind.RESTORE, _DESTINATION, RestoreMode.VOLUME, cut=True),
)


class SteadyClock:
    """A clock by which everything takes a second."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def write_journal() -> str:
    """Return a journal of both sites' runs as today's code writes it, as SQL."""
    clock = SteadyClock()
    with Journal.open(_IN_MEMORY) as scratch, Journal.open(_IN_MEMORY, clock=clock) as journal:
        leases = Leases(journal.database, clock=clock)
        for story in STORIES:
            for run_id, events in _runs(scratch, story):
                _record(journal, leases, run_id, events)
        with closing(journal.database.engine.raw_connection()) as connection:
            kept = connection.driver_connection
            assert isinstance(kept, sqlite3.Connection)
            return "\n".join(kept.iterdump()) + "\n"


def _runs(scratch: Journal, story: Story) -> Iterator[tuple[str, list[Event]]]:
    whole = _drive(scratch, story, f"{story.name}-whole")
    yield f"{story.name}-whole", whole
    if story.cut:
        for index, event in enumerate(whole):
            if isinstance(event, Started | UndoStarted):
                run_id = f"{story.name}-{index:02d}"
                yield run_id, _drive(scratch, story, run_id)[: index + 1]


def _drive(scratch: Journal, story: Story, run_id: str) -> list[Event]:
    opened, leases = _on_a_volume_of_its_own(story.opened(run_id)), Leases(scratch.database)
    lease = leases.acquire(opened.volume, run_id, owner="golden", ttl_s=3600)
    scratch.open_run(opened, token=lease.token)
    run = drive(scratch, run_id, story.effects(opened), lease=FreeHold(lease.token))
    assert story.faults or run.phase is Phase.DONE, run.failure
    events = [recorded.event for recorded in scratch.events(run_id)]
    return [*events, *story.then]


def _on_a_volume_of_its_own(opened: Opened) -> Opened:
    """Open runs never share a volume."""
    volume = f"{opened.volume}/{opened.run_id}"
    return Opened(opened.run_id, opened.kind, opened.site, volume, opened.mode, opened.facts)


def _record(journal: Journal, leases: Leases, run_id: str, events: list[Event]) -> None:
    """Put a run into the golden journal, under a lease that a dead process of another host holds."""
    opened = events[0]
    assert isinstance(opened, Opened)
    lease = leases.acquire(opened.volume, run_id, owner="old-host:1:1:boot", ttl_s=30)
    run = journal.open_run(opened, token=lease.token)
    for event in events[1:]:
        run = journal.append(run, event)
    if not run.is_open:
        leases.release(lease)


def _backup_request(run_id: str, volume: str) -> BackupRequest:
    return BackupRequest(
        run_id=run_id,
        fencing_token=1,
        volume=volume,
        source=f"source/{volume}",
        url=f"nbd://127.0.0.1:10809/run-{run_id}",
        mode=BackupMode.SPLIT,
        split_at=datetime(2026, 1, 1, tzinfo=UTC),
        split_id="split-2",
        previous_split_id="split-1",
        nightwell_version=RELEASE,
    )


def _restore_request(run_id: str, volume: str) -> RestoreRequest:
    return RestoreRequest(
        run_id=run_id,
        fencing_token=1,
        volume=volume,
        version_id=VERSION,
        target="source/third",
        url=f"nbd://127.0.0.1:10809/run-{run_id}",
        nightwell_version=RELEASE,
    )


def rows_of(text: str) -> dict[str, list[tuple[object, ...]]]:
    """Return what stands in a journal, by table; how its SQL is written depends on releases of other programs."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(text)
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in sorted(tables)}


def journals() -> list[Path]:
    """Return the golden journals, oldest first."""
    return sorted(FOLDER.glob("*.sql"))


def main() -> None:
    """Add today's journal when it differs from the newest one."""
    text, known = write_journal(), journals()
    if known and rows_of(known[-1].read_text()) == rows_of(text):
        sys.stdout.write(f"{known[-1].name} is what today's code writes\n")
        return
    file = FOLDER / f"{len(known) + 1:04d}.sql"
    file.write_text(text)
    sys.stdout.write(f"wrote {file.name}, {len(text)} bytes\n")


if __name__ == "__main__":
    main()
