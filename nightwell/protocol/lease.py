"""One run per volume: a lease with a fencing token.

The token of a volume only ever goes up, also over a release, so whoever holds a higher one is the later holder. It is
checked by the journal at every event and again by the store at the commit: a driver that was thought dead and wakes
up can do nothing durable any more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from nightwell.errors import BusyError, FencedError, NotFoundError
from nightwell.protocol.database import Clock, Database, from_us, leases_table, runs_table, to_us, utc_now
from nightwell.protocol.run import OPEN_PHASES


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to drive one run on one volume until ``expires_at``; ``owner`` names the process that drives."""

    volume: str
    run_id: str
    token: int
    owner: str
    expires_at: datetime
    ttl_s: float


class Leases:
    """The leases of one site, kept beside its journal.

    Parameters
    ----------
    database
        The journal's database.
    clock
        Tells what has lapsed. Holders on several hosts need clocks that agree to well within the time to live.
    """

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        self._database = database
        self.clock = clock

    def acquire(self, volume: str, run_id: str, *, owner: str, ttl_s: float, token_above: int = 0) -> Lease:
        """Take a volume for a new run, with a token higher than ``token_above``.

        A lapsed lease does not free a volume while its run is open in the journal: that run has to be recovered
        first, or two runs would work on one pair.

        Raises
        ------
        BusyError
            When another run has the volume; the error names it and says until when.
        """
        try:
            with self._database.writing() as connection:
                self._refuse_busy(connection, volume, run_id)
                return self._take(connection, volume, run_id, owner=owner, ttl_s=ttl_s, token_above=token_above)
        except IntegrityError as error:
            raise _busy(volume, "a run that came first by a moment", "now", "try again") from error

    def renew(self, lease: Lease) -> Lease:
        """Hold a lease for another ``ttl_s`` from now.

        Raises
        ------
        FencedError
            When it is no longer this holder's. A lease that lapsed and that nobody claimed is renewed.
        """
        expires_at = self.clock() + timedelta(seconds=lease.ttl_s)
        with self._database.writing() as connection:
            changed = update(leases_table).where(*_held_as(lease)).values(expires_at_us=to_us(expires_at))
            if connection.execute(changed).rowcount != 1:
                raise _lost(lease)
        return replace(lease, expires_at=expires_at)

    def release(self, lease: Lease) -> None:
        """Give the volume free; releasing what is no longer held does nothing."""
        with self._database.writing() as connection:
            connection.execute(update(leases_table).where(*_held_as(lease)).values(run_id=None, owner=""))

    def claim_lapsed(self, volume: str, *, owner: str, ttl_s: float, dead_owner: str | None = None) -> Lease | None:
        """Take over the run of a lapsed lease with a higher token; ``None`` when it has not lapsed or somebody did.

        Of several recoverers exactly one gets the lease.

        Parameters
        ----------
        volume, owner, ttl_s
            As for :meth:`acquire`.
        dead_owner
            A holder that is known to be dead: its lease counts as lapsed, but no longer once another has taken it.
        """
        with self._database.writing() as connection:
            row = _row(connection, volume)
            if row is None or row.run_id is None:
                return None
            if row.expires_at_us > to_us(self.clock()) and row.owner != dead_owner:
                return None
            try:
                return self._take(connection, volume, row.run_id, owner=owner, ttl_s=ttl_s)
            except BusyError:
                return None

    def seize(self, volume: str, run_id: str, *, owner: str, ttl_s: float) -> Lease:
        """Take a run's lease even from a live driver, with a higher token: the way to fence a run off.

        The old driver can append nothing any more, and its keeper tells it so at the next renewal. A volume that
        nobody holds is taken too.

        Raises
        ------
        BusyError
            When another run has the volume.
        """
        with self._database.writing() as connection:
            row = _row(connection, volume)
            if row is not None and row.run_id not in (None, run_id):
                self._refuse_busy(connection, volume, run_id)
            return self._take(connection, volume, run_id, owner=owner, ttl_s=ttl_s)

    def lapsed(self) -> tuple[Lease, ...]:
        """Return the leases whose holders have not renewed them in time, sorted by volume."""
        held = leases_table.c.run_id.is_not(None) & (leases_table.c.expires_at_us <= to_us(self.clock()))
        with self._database.reading() as connection:
            rows = connection.execute(select(leases_table).where(held).order_by(leases_table.c.volume)).all()
        return tuple(
            Lease(row.volume, row.run_id, row.token, row.owner, from_us(row.expires_at_us), 0.0) for row in rows
        )

    def holder(self, volume: str) -> Lease:
        """Return who holds a volume, lapsed or not; :class:`NotFoundError` when nobody does."""
        with self._database.reading() as connection:
            row = _row(connection, volume)
        if row is None or row.run_id is None:
            raise NotFoundError(
                f"lease of volume {volume!r}",
                expected="a run that holds it",
                found="none",
                cause="no run is under way",
                next_step="start one, or look at `nightwell runs`",
            )
        return Lease(row.volume, row.run_id, row.token, row.owner, from_us(row.expires_at_us), 0.0)

    def _refuse_busy(self, connection: Connection, volume: str, run_id: str) -> None:
        row = _row(connection, volume)
        if row is not None and row.run_id is not None and row.expires_at_us > to_us(self.clock()):
            until = f"until {from_us(row.expires_at_us).isoformat(timespec='seconds')}"
            raise _busy(volume, f"run {row.run_id!r} of {row.owner}", until, "wait for that run, or cancel it")
        is_open = runs_table.c.phase.in_([str(phase) for phase in OPEN_PHASES])
        others = select(runs_table.c.run_id).where(
            runs_table.c.volume == volume, runs_table.c.run_id != run_id, is_open
        )
        other = connection.execute(others.limit(1)).scalar()
        if other is not None:
            raise _busy(volume, f"run {other!r}", "until it is recovered", "run `nightwell recover`, then try again")

    def _take(
        self, connection: Connection, volume: str, run_id: str, *, owner: str, ttl_s: float, token_above: int = 0
    ) -> Lease:
        expires_at = self.clock() + timedelta(seconds=ttl_s)
        row = _row(connection, volume)
        token = max(0 if row is None else row.token, token_above) + 1
        values = {"token": token, "run_id": run_id, "owner": owner, "expires_at_us": to_us(expires_at)}
        if row is None:
            connection.execute(insert(leases_table).values(volume=volume, **values))
        else:
            unchanged = (leases_table.c.volume == volume, leases_table.c.token == row.token)
            if connection.execute(update(leases_table).where(*unchanged).values(values)).rowcount != 1:
                raise _busy(volume, "a run that came first by a moment", "now", "try again")
        return Lease(volume, run_id, token, owner, expires_at, ttl_s)


def _row(connection: Connection, volume: str) -> Row[tuple[str, int, str | None, str, int]] | None:
    columns = leases_table.c
    query = select(columns.volume, columns.token, columns.run_id, columns.owner, columns.expires_at_us)
    return connection.execute(query.where(columns.volume == volume)).first()


def _held_as(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    columns = leases_table.c
    return (columns.volume == lease.volume, columns.token == lease.token, columns.run_id == lease.run_id)


def _busy(volume: str, found: str, until: str, next_step: str) -> BusyError:
    return BusyError(
        f"volume {volume!r}",
        expected="a volume that no run holds",
        found=f"{found} holds it {until}",
        cause="a backup or a restore of this volume is under way, or ended without recovery",
        next_step=next_step,
    )


def _lost(lease: Lease) -> FencedError:
    return FencedError(
        f"run {lease.run_id!r}",
        expected=f"the lease of volume {lease.volume!r} with token {lease.token}",
        found="another holder or none",
        cause="the lease lapsed and a recovery took the run over",
        next_step="let the other driver finish; do nothing here",
    )
