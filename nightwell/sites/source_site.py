"""The source site: begins backups and restores, and recovers the ones that were cut short."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from nightwell.protocol import BackupMode, Facts, Opened, RestoreMode, Run, RunKind, Site
from nightwell.protocol.driver import OnEvent
from nightwell.sites.checks import find_volume
from nightwell.sites.ledger import Effects, Ledger
from nightwell.sites.requests import Destination
from nightwell.sites.source import SourceEffects

Wrap = Callable[[Effects], Effects]


def as_they_are(effects: Effects) -> Effects:
    """Return the effects themselves; flows wrap them in tasks instead."""
    return effects


@dataclass(frozen=True, slots=True)
class SourceSite:
    """What a person or a flow calls at the source site.

    Parameters
    ----------
    effects
        What is done for each step.
    ledger
        The site's runs.
    destination
        The other site.
    block_bytes
        Block size of a volume's first version (``None``: the store's default).
    """

    effects: SourceEffects
    ledger: Ledger
    destination: Destination
    block_bytes: int | None = None

    def back_up(
        self,
        volume: str,
        *,
        mode: BackupMode = BackupMode.SPLIT,
        keep_pair: bool = False,
        run_id: str | None = None,
        wrap: Wrap = as_they_are,
        on_event: OnEvent | None = None,
    ) -> Run:
        """Back a volume up; return the run as it ended.

        What a dead process left on the volume is finished or undone first: a retry need not wait for a recovery.

        Parameters
        ----------
        volume
            The primary volume.
        mode
            What the virtual server reads.
        keep_pair
            Keep a pair that this run makes, so that the next run only copies what changed.
        run_id
            Id of the run; by default a new one.
        wrap
            Turns the effects into what is called for each step.
        on_event
            Called after each event is journaled.

        Raises
        ------
        NotFoundError
            The array has no such volume; no run is opened.
        BusyError
            Another run has the volume; no run is opened.
        """
        find_volume(self.effects.array, volume)
        facts = Facts({"volume": volume, "mode": mode.value, "keep_pair": keep_pair, "block_bytes": self.block_bytes})
        run_id = run_id or new_run_id()
        opened = Opened(run_id, RunKind.BACKUP, Site.SOURCE, volume, mode, facts)
        self._recover(wrap, on_event, volume)
        newest = self.destination.look_up(volume, "latest")
        lease = self.ledger.begin(opened, token_above=newest.fencing_token if newest else 0)
        return self.ledger.drive(run_id, wrap(self.effects.backup()), lease, on_event=on_event)

    def restore(
        self,
        volume: str,
        version: str,
        target: str,
        *,
        run_id: str | None = None,
        wrap: Wrap = as_they_are,
        on_event: OnEvent | None = None,
    ) -> Run:
        """Write a version of ``volume`` to the third volume ``target``; return the run as it ended.

        Parameters
        ----------
        volume, version
            Which version; ``version`` is an id, the beginning of one, or ``latest``.
        target
            The volume that is overwritten.
        run_id, wrap, on_event
            As for :meth:`back_up`.

        Raises
        ------
        NotFoundError
            There is no such target volume; no run is opened.
        BusyError
            Another run has the target; no run is opened.
        """
        find_volume(self.effects.array, target)
        facts = Facts({"volume": volume, "version": version, "target": target})
        run_id = run_id or new_run_id()
        self._recover(wrap, on_event, target)
        lease = self.ledger.begin(Opened(run_id, RunKind.RESTORE, Site.SOURCE, target, RestoreMode.VOLUME, facts))
        return self.ledger.drive(run_id, wrap(self.effects.restore()), lease, on_event=on_event)

    def recover(self, *, wrap: Wrap = as_they_are, on_event: OnEvent | None = None) -> tuple[Run, ...]:
        """Finish or undo every run of this site whose driver is gone."""
        return self._recover(wrap, on_event)

    def retry(self, run_id: str, by: str, *, wrap: Wrap = as_they_are, on_event: OnEvent | None = None) -> Run:
        """Let a stuck run try again what it owes; errors as :meth:`Ledger.reopen`."""
        effects = wrap(self._effects_of(self.ledger.journal.load(run_id)))
        return self.ledger.drive(run_id, effects, self.ledger.reopen(run_id, by), on_event=on_event)

    def close(self) -> None:
        """Give back the connections of this site; the other site has its own."""
        self.effects.array.close()
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _recover(self, wrap: Wrap, on_event: OnEvent | None, volume: str | None = None) -> tuple[Run, ...]:
        return self.ledger.recover(
            lambda run, lease: self.ledger.drive(run.run_id, wrap(self._effects_of(run)), lease, on_event=on_event),
            volume=volume,
        )

    def _effects_of(self, run: Run) -> Effects:
        return self.effects.backup() if run.opened.kind is RunKind.BACKUP else self.effects.restore()


def new_run_id() -> str:
    """Return an id that sorts by time and that nobody else makes."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
