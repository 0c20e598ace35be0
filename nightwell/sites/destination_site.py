"""The destination site: carries requests out, ends them when asked, and recovers the ones that were cut short.

Its own journal is where the truth about a request lives. The source asks here before it takes anything back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Self

from nightwell.arrays.port import Array
from nightwell.errors import NotFoundError
from nightwell.protocol import (
    BackupMode,
    Facts,
    Lease,
    Opened,
    RestoreMode,
    Run,
    RunKind,
    Site,
    fence_outcome,
    remedies,
    request_outcome,
)
from nightwell.protocol.driver import OnEvent
from nightwell.sites.destination import DestinationEffects
from nightwell.sites.ledger import Ledger
from nightwell.sites.requests import (
    BackupAnswer,
    BackupRequest,
    FenceAnswer,
    FenceRequest,
    RestoreAnswer,
    RestoreRequest,
    VersionAnswer,
)
from nightwell.sites.source_site import Wrap, as_they_are
from nightwell.store.location import StoreLocation
from nightwell.store.store import BackupStore


@dataclass(frozen=True, slots=True)
class DestinationSite:
    """What the source site, a person or a flow calls at the destination site.

    Parameters
    ----------
    array
        The array that imports volumes.
    make_effects
        Makes the effects of one request; they hold the conversation with its mover.
    ledger
        The site's runs.
    location
        The store.
    wrap
        Turns the effects into what is called for each step.
    on_event
        Called after each event is journaled.
    """

    array: Array
    make_effects: Callable[[], DestinationEffects]
    ledger: Ledger
    location: StoreLocation
    wrap: Wrap = as_they_are
    on_event: OnEvent | None = None

    def back_up(self, request: BackupRequest) -> BackupAnswer:
        """Carry a backup out; a request that was carried out before gets the same answer."""
        run = self._carry_out(opened_backup(request))
        request_outcome(run)
        return _backup_answer(run)

    def restore(self, request: RestoreRequest) -> RestoreAnswer:
        """Carry a restore out; a request that was carried out before gets the same answer."""
        run = self._carry_out(opened_restore(request))
        request_outcome(run)
        return _restore_answer(run)

    def fence(self, request: FenceRequest) -> FenceAnswer:
        """End all work of a run and answer what it achieved.

        Raises
        ------
        UnknownOutcomeError
            It cannot be told yet; the source waits and asks again.
        NightwellError
            It cannot be told at all; a person must find out.
        """
        run = self._end(request)
        outcome = fence_outcome(run)
        if not outcome.flag("committed"):
            return FenceAnswer(committed=False, target_touched=outcome.get("target_touched") is not False)
        backup = run.opened.kind is RunKind.BACKUP
        return FenceAnswer(committed=True, answer=_backup_answer(run) if backup else _restore_answer(run))

    def _end(self, request: FenceRequest) -> Run:
        run = self.ledger.journal.find(request.run_id)
        if run is None:
            # Recorded as ended, so that the request is refused if it arrives after this.
            run_id, lease = request.run_id, self.ledger.begin(_opened_for_fence(request))
            why = "ended before it began"
        elif run.is_open:
            run_id, lease = run.run_id, self.ledger.seize(run.volume, run.run_id)
            why = "ended by its source"
        else:
            return run
        return self._drive(run_id, lease, end=why)

    def look_up(self, volume: str, selector: str) -> VersionAnswer | None:
        """Return a version, or ``None`` when there is none; nothing is made where no store is yet."""
        store = BackupStore.find(self.location)
        if store is None:
            return None
        with store:
            try:
                version = store.find_version(volume, selector)
            except NotFoundError:
                return None
        return VersionAnswer(
            version_id=version.version_id, size_bytes=version.size_bytes, fencing_token=version.fencing_token
        )

    def recover(self) -> tuple[Run, ...]:
        """Finish or undo every run of this site whose driver is gone."""
        return self.ledger.recover(lambda run, lease: self._drive(run.run_id, lease))

    def retry(self, run_id: str, by: str) -> Run:
        """Let a stuck run try again what it owes; errors as :meth:`Ledger.reopen`."""
        return self._drive(run_id, self.ledger.reopen(run_id, by))

    def close(self) -> None:
        """Give back the connections of this site."""
        self.array.close()
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carry_out(self, opened: Opened) -> Run:
        run = self.ledger.journal.find(opened.run_id)
        if run is None:
            lease = self.ledger.begin(opened)
        elif run.is_open:
            # The source asks again only after it lost sight of its first request: whoever drives that is fenced off.
            lease = self.ledger.seize(run.volume, run.run_id)
        else:
            return run
        return self._drive(opened.run_id, lease)

    def _drive(self, run_id: str, lease: Lease, *, end: str | None = None) -> Run:
        run = self.ledger.journal.load(run_id)
        with closing(self.make_effects()) as made:
            text = run.facts.text("request")
            if run.opened.kind is RunKind.BACKUP:
                effects = made.backup(BackupRequest.model_validate_json(text))
            else:
                effects = made.restore(RestoreRequest.model_validate_json(text))
            return self.ledger.drive(run_id, self.wrap(effects), lease, on_event=self.on_event, end=end)


def opened_backup(request: BackupRequest) -> Opened:
    """Return how the run of a backup's request begins in this site's journal."""
    facts = Facts({"volume": request.volume, "request": request.model_dump_json()})
    return Opened(request.run_id, RunKind.BACKUP, Site.DESTINATION, request.volume, request.mode, facts)


def opened_restore(request: RestoreRequest) -> Opened:
    """Return how the run of a restore's request begins in this site's journal."""
    facts = Facts({"volume": request.volume, "version_id": request.version_id, "request": request.model_dump_json()})
    return Opened(request.run_id, RunKind.RESTORE, Site.DESTINATION, request.target, RestoreMode.VOLUME, facts)


def _opened_for_fence(request: FenceRequest) -> Opened:
    """Return a run for a request that never arrived; it is ended before any of its steps begins."""
    nowhere = "nbd://never-asked/"
    if request.kind is RunKind.BACKUP:
        return opened_backup(
            BackupRequest(
                run_id=request.run_id,
                fencing_token=0,
                volume=request.volume,
                source="",
                url=nowhere,
                mode=BackupMode.SPLIT,
            )
        )
    return opened_restore(
        RestoreRequest(
            run_id=request.run_id, fencing_token=0, volume="", version_id="", target=request.volume, url=nowhere
        )
    )


def _backup_answer(run: Run) -> BackupAnswer:
    known = {name: run.facts[name] for name in BackupAnswer.model_fields if name in run.facts}
    return BackupAnswer.model_validate({**known, "cleanup_owed": "; ".join(remedies(run))})


def _restore_answer(run: Run) -> RestoreAnswer:
    return RestoreAnswer(
        version_id=run.facts.text("version_id"),
        bytes_written=run.facts.number("bytes_written"),
        bytes_zeroed=run.facts.number("bytes_zeroed"),
        longest_stall_ms=run.facts.number("longest_stall_ms") if "longest_stall_ms" in run.facts else 0,
        cleanup_owed="; ".join(remedies(run)),
    )
