"""The journal: the durable record of every run at one site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, RowMapping, Select, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from nightwell.errors import ConflictError, FencedError, NotFoundError
from nightwell.protocol import codec
from nightwell.protocol.database import (
    Clock,
    Database,
    events_table,
    from_us,
    leases_table,
    runs_table,
    to_us,
    utc_now,
)
from nightwell.protocol.events import Event, Opened
from nightwell.protocol.run import OPEN_PHASES, Phase, Run
from nightwell.protocol.steps import RunKind, Site
from nightwell.protocol.tables import TABLES, Tables
from nightwell.protocol.transitions import begin, evolve, replay


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event as it stands in the journal."""

    sequence: int
    at: datetime
    event: Event


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of runs; the holder of the volume's lease is ``None`` when this run does not hold it."""

    run_id: str
    kind: RunKind
    site: Site
    volume: str
    mode: str
    phase: Phase
    opened_at: datetime
    updated_at: datetime
    lease_owner: str | None
    lease_expires_at: datetime | None


class Journal:
    """Runs and their events in one database; safe to share between threads and processes.

    Appending is the only change. The sequence number of an event is its key, so of two drivers that both believe to
    own a run only one can append, and the other learns at once that it does not.

    Parameters
    ----------
    database
        Where the journal is kept; shared with :class:`~nightwell.protocol.lease.Leases`.
    clock
        Stamps the events.
    tables
        The protocols that the runs follow.
    """

    def __init__(self, database: Database, *, clock: Clock = utc_now, tables: Tables = TABLES) -> None:
        self.database = database
        self.clock = clock
        self._tables = tables

    @classmethod
    def open(cls, url: str | Path, *, clock: Clock = utc_now) -> Journal:
        """Open a journal, making it when it does not exist; errors as :class:`Database`."""
        return cls(Database(url), clock=clock)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_run(self, opened: Opened, *, token: int | None = None) -> Run:
        """Record a new run.

        Parameters
        ----------
        opened
            What the run is; its id must be new.
        token
            The fencing token of the volume's lease, checked in the same transaction (``None``: not checked).

        Raises
        ------
        ConflictError
            When a run of this id exists.
        FencedError
            When the lease is no longer this run's.
        """
        run = begin(opened, self._tables)
        now_us = to_us(self.clock())
        row = {
            "run_id": opened.run_id,
            "kind": str(opened.kind),
            "site": str(opened.site),
            "volume": opened.volume,
            "mode": str(opened.mode),
            "phase": str(run.phase),
            "sequence": run.sequence,
            "opened_at_us": now_us,
            "updated_at_us": now_us,
        }
        try:
            with self.database.writing() as connection:
                _check_token(connection, run, token)
                connection.execute(insert(runs_table).values(row))
                _insert_event(connection, run, opened, now_us)
        except IntegrityError as error:
            raise ConflictError(
                f"run {opened.run_id!r}",
                expected="an id that no run has had",
                found="a run of this id in the journal",
                cause="the same request was opened twice",
                next_step="load the run and go on with it",
            ) from error
        return run

    def append(self, run: Run, event: Event, *, token: int | None = None) -> Run:
        """Record one more event and return the run after it.

        The event is checked against the protocol first, so an illegal one never reaches the journal.

        Raises
        ------
        ProtocolViolation
            When the run's state does not allow the event.
        FencedError
            When another driver has appended since ``run`` was loaded, or ``token`` is no longer the lease's.
        """
        after = evolve(run, event)
        now_us = to_us(self.clock())
        changed = {"phase": str(after.phase), "sequence": after.sequence, "updated_at_us": now_us}
        mine = (runs_table.c.run_id == run.run_id) & (runs_table.c.sequence == run.sequence)
        try:
            with self.database.writing() as connection:
                _check_token(connection, run, token)
                if connection.execute(update(runs_table).where(mine).values(changed)).rowcount != 1:
                    raise _overtaken(run)
                _insert_event(connection, after, event, now_us)
        except IntegrityError as error:
            raise _overtaken(run) from error
        return after

    def load(self, run_id: str) -> Run:
        """Return a run by replaying its events; :class:`NotFoundError` when there is none of this id."""
        return replay((recorded.event for recorded in self.events(run_id)), self._tables)

    def find(self, run_id: str) -> Run | None:
        """Return a run, or ``None`` when there is none of this id."""
        try:
            return self.load(run_id)
        except NotFoundError:
            return None

    def events(self, run_id: str) -> tuple[Recorded, ...]:
        """Return a run's events in order; :class:`NotFoundError` when there is no such run."""
        chosen = events_table.select().where(events_table.c.run_id == run_id).order_by(events_table.c.sequence)
        with self.database.reading() as connection:
            rows = connection.execute(chosen).mappings().all()
        if not rows:
            raise NotFoundError(
                f"run {run_id!r}",
                expected="a run in this site's journal",
                found="none of this id",
                cause="a typing error, or the run belongs to the other site",
                next_step="list them with `nightwell runs`",
            )
        return tuple(Recorded(row["sequence"], from_us(row["at_us"]), codec.decode(row["event"])) for row in rows)

    def runs(self, limit: int = 100) -> tuple[RunSummary, ...]:
        """Return the latest runs, newest first."""
        return self._summaries(_summary_query().order_by(runs_table.c.opened_at_us.desc()).limit(limit))

    def open_runs(self) -> tuple[RunSummary, ...]:
        """Return the runs that still have something to do, oldest first."""
        return self._in_phases([str(phase) for phase in OPEN_PHASES])

    def stuck_runs(self) -> tuple[RunSummary, ...]:
        """Return the runs that wait for a person, oldest first."""
        return self._in_phases([str(Phase.STUCK)])

    def newest_runs(self) -> tuple[RunSummary, ...]:
        """Return the newest run of each kind and volume that has ended, or that waits for a person; by volume."""
        newest = func.max(runs_table.c.opened_at_us).label("newest")
        columns = (runs_table.c.kind, runs_table.c.volume)
        ended = runs_table.c.phase.not_in([str(phase) for phase in OPEN_PHASES])
        latest = select(*columns, newest).where(ended).group_by(*columns).subquery()
        same = [runs_table.c[name] == latest.c[name] for name in ("kind", "volume")]
        chosen = _summary_query().where(ended, runs_table.c.opened_at_us == latest.c.newest, *same)
        return self._summaries(chosen.order_by(runs_table.c.volume, runs_table.c.kind))

    def count_runs(self) -> dict[tuple[RunKind, Phase], int]:
        """Return how many runs of each kind there are in each phase."""
        columns = (runs_table.c.kind, runs_table.c.phase)
        query = select(*columns, func.count()).group_by(*columns)
        with self.database.reading() as connection:
            return {(RunKind(row[0]), Phase(row[1])): row[2] for row in connection.execute(query)}

    def _in_phases(self, phases: Sequence[str]) -> tuple[RunSummary, ...]:
        chosen = _summary_query().where(runs_table.c.phase.in_(phases))
        return self._summaries(chosen.order_by(runs_table.c.opened_at_us))

    def _summaries(self, query: Select[Any]) -> tuple[RunSummary, ...]:
        with self.database.reading() as connection:
            return tuple(_summary(row) for row in connection.execute(query).mappings())


def _insert_event(connection: Connection, run: Run, event: Event, now_us: int) -> None:
    row = {"run_id": run.run_id, "sequence": run.sequence, "at_us": now_us, "event": codec.encode(event)}
    connection.execute(insert(events_table).values(row))


def _check_token(connection: Connection, run: Run, token: int | None) -> None:
    if token is None:
        return
    query = select(leases_table.c.token, leases_table.c.run_id).where(leases_table.c.volume == run.volume)
    held = connection.execute(query.with_for_update()).first()
    if held is None or held.token != token or held.run_id != run.run_id:
        raise FencedError(
            f"run {run.run_id!r}",
            expected=f"the lease of volume {run.volume!r} with token {token}",
            found="no lease" if held is None else f"token {held.token}, held by run {held.run_id!r}",
            cause="the lease lapsed and a recovery took the run over",
            next_step="let the other driver finish; do nothing here",
        )


def _overtaken(run: Run) -> FencedError:
    return FencedError(
        f"run {run.run_id!r}",
        expected=f"{run.sequence} events in the journal",
        found="another number of them",
        cause="another driver has taken the run over",
        next_step="let the other driver finish; do nothing here",
    )


def _summary_query() -> Select[Any]:
    held = (leases_table.c.volume == runs_table.c.volume) & (leases_table.c.run_id == runs_table.c.run_id)
    columns = (runs_table, leases_table.c.owner, leases_table.c.expires_at_us)
    return select(*columns).select_from(runs_table.outerjoin(leases_table, held))


def _summary(row: RowMapping) -> RunSummary:
    expires_at_us = row["expires_at_us"]
    return RunSummary(
        run_id=row["run_id"],
        kind=RunKind(row["kind"]),
        site=Site(row["site"]),
        volume=row["volume"],
        mode=row["mode"],
        phase=Phase(row["phase"]),
        opened_at=from_us(row["opened_at_us"]),
        updated_at=from_us(row["updated_at_us"]),
        lease_owner=row["owner"],
        lease_expires_at=None if expires_at_us is None else from_us(expires_at_us),
    )
