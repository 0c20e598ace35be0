"""One site's runs: opening them under a lease, driving them, and taking up what a dead process left."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from nightwell.errors import ConflictError, FencedError
from nightwell.protocol import (
    Database,
    Effect,
    Journal,
    Lease,
    Leases,
    Opened,
    Phase,
    Reopened,
    Resolved,
    Run,
    RunSummary,
    Step,
    cancel,
    drive,
    keep_alive,
    may_pass,
)
from nightwell.protocol.driver import OnEvent
from nightwell.servers.procfs import ProcessIdentity, identify, is_running
from nightwell.sites.run_log import logging_run

Effects = Mapping[Step, Effect]

# Between the attempts of recoveries to finish a stuck run; a run adds three lines to its journal each time.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The journal and the leases of one site, as the site uses them.

    Parameters
    ----------
    journal, leases
        Both on one database.
    ttl_s
        How long a lease lives unrenewed.
    """

    journal: Journal
    leases: Leases
    ttl_s: float = 60.0

    @classmethod
    def open(cls, url: str, *, ttl_s: float = 60.0) -> Ledger:
        """Open the ledger that a database URL names, making it when it does not exist."""
        database = Database(url)
        return cls(Journal(database), Leases(database), ttl_s)

    def close(self) -> None:
        """Close the database."""
        self.journal.close()

    def begin(self, opened: Opened, *, token_above: int = 0) -> Lease:
        """Take the volume's lease and record the new run.

        Parameters
        ----------
        opened
            The run.
        token_above
            The lease's token has to be higher than this: a store may hold a version with a token of a journal that
            was lost since.

        Raises
        ------
        BusyError
            Another run has the volume.
        """
        lease = self.leases.acquire(
            opened.volume, opened.run_id, owner=this_process(), ttl_s=self.ttl_s, token_above=token_above
        )
        try:
            self.journal.open_run(opened, token=lease.token)
        except BaseException:
            self.leases.release(lease)
            raise
        return lease

    def drive(
        self,
        run_id: str,
        effects: Effects,
        lease: Lease,
        *,
        on_event: OnEvent | None = None,
        end: str | None = None,
    ) -> Run:
        """Drive a run under its lease; give the volume free when the run has ended.

        Parameters
        ----------
        run_id, effects, lease, on_event
            As :func:`nightwell.protocol.drive` takes them.
        end
            Why the run is to be ended; ``None`` to let it go on.
        """
        try:
            with (
                logging_run(self.journal.load(run_id), on_event) as watcher,
                keep_alive(self.leases, lease) as hold,
            ):
                if end is not None:
                    cancel(self.journal, self.journal.load(run_id), end, lease=hold)
                return drive(self.journal, run_id, effects, lease=hold, on_event=watcher)
        finally:
            # A run that waits or was cut short keeps its lease until it lapses; then a recovery claims it. A lease
            # that another driver took meanwhile is not ours any more, and releasing it does nothing.
            if not self.journal.load(run_id).is_open:
                self.leases.release(lease)

    def take_over(self, summary: RunSummary) -> Lease | None:
        """Take the lease of a run whose driver is gone; ``None`` while it may still be alive."""
        holder = summary.lease_owner
        dead = holder if holder is not None and is_dead(holder) else None
        lease = self.leases.claim_lapsed(summary.volume, owner=this_process(), ttl_s=self.ttl_s, dead_owner=dead)
        return lease if lease is None or lease.run_id == summary.run_id else None

    def seize(self, volume: str, run_id: str) -> Lease:
        """Take the lease of a run even from a live driver, which can change nothing from then on."""
        return self.leases.seize(volume, run_id, owner=this_process(), ttl_s=self.ttl_s)

    def reopen(self, run_id: str, by: str) -> Lease:
        """Let a stuck run try again what it owes; return the lease under which it is then driven.

        Parameters
        ----------
        run_id
            The run.
        by
            Who asks for it; recorded.

        Raises
        ------
        NotFoundError
            The site has no such run.
        ConflictError
            The run is not stuck.
        BusyError
            Another run has the volume meanwhile.
        """
        run = self._stuck(run_id)
        lease = self.leases.acquire(run.volume, run_id, owner=this_process(), ttl_s=self.ttl_s)
        try:
            self.journal.append(run, Reopened(by), token=lease.token)
        except BaseException:
            self.leases.release(lease)
            raise
        return lease

    def resolve(self, run_id: str, by: str, note: str) -> Run:
        """Record that a person did by hand what a stuck run owes; errors as :meth:`reopen`."""
        return self.journal.append(self._stuck(run_id), Resolved(by, note))

    def _stuck(self, run_id: str) -> Run:
        run = self.journal.load(run_id)
        if run.phase is Phase.STUCK:
            return run
        raise ConflictError(
            f"run '{run_id}' at the {run.opened.site} site",
            expected="a stuck run, which waits for a person",
            found=f"phase {run.phase}",
            cause="a recovery goes on with it by itself" if run.is_open else "the run has ended, and owes nothing",
            next_step="run 'nightwell recover'" if run.is_open else "nothing is left to do",
        )

    def recover(self, resume: Callable[[Run, Lease], Run], *, volume: str | None = None) -> tuple[Run, ...]:
        """Take up every run whose driver is gone, or that is stuck for a reason that may have passed.

        Parameters
        ----------
        resume
            Drives one of them.
        volume
            Only the runs of this volume; ``None`` for all.

        Returns
        -------
        tuple
            The runs as ``resume`` left them.
        """
        recovered: list[Run] = []
        failed: Exception | None = None
        for take, found in ((self.take_over, self.journal.open_runs), (self._try_again, self.journal.stuck_runs)):
            for summary in found():
                lease = take(summary) if volume in {None, summary.volume} else None
                if lease is None:
                    continue
                try:
                    recovered.append(resume(self.journal.load(summary.run_id), lease))
                except FencedError:
                    continue  # the other site fenced it off meanwhile; whoever has it now goes on
                except Exception as error:  # noqa: BLE001 -- a run that cannot be recovered must not keep the others
                    failed = failed or error
        if failed is not None:
            raise failed
        return tuple(recovered)

    def _try_again(self, summary: RunSummary) -> Lease | None:
        """Reopen a stuck run that waits for an array or a store to come back, in ever longer intervals."""
        if not may_pass(self.journal.load(summary.run_id)):
            return None
        events = [recorded.event for recorded in self.journal.events(summary.run_id)]
        tried = sum(isinstance(event, Reopened) for event in events)
        pause = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE) if tried else timedelta(0)
        if self.leases.clock() < summary.updated_at + pause:
            return None
        try:
            return self.reopen(summary.run_id, by="recovery")
        except (ConflictError, FencedError):
            return None  # another run has the volume, or another recovery was quicker


def this_process() -> str:
    """Return how a lease names this process: host, process id, start time and boot."""
    identity = identify(os.getpid())
    assert identity is not None, "this process runs"
    return f"{socket.gethostname()}:{identity.pid}:{identity.start_time_ticks}:{identity.boot_id}"


def is_dead(owner: str) -> bool:
    """Return whether a lease's owner was a process of this host that runs no more.

    An owner on another host, or one that is written otherwise, may be alive as far as can be told here.
    """
    try:
        host, pid, ticks, boot = owner.rsplit(":", 3)
        identity = ProcessIdentity(int(pid), int(ticks), boot)
    except ValueError:
        return False
    return host == socket.gethostname() and not is_running(identity)
