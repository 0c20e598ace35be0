"""Holding a lease while work goes on: a thread renews it and tells when it is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from nightwell.errors import FencedError
from nightwell.protocol.lease import Lease, Leases

_LOG = logging.getLogger(__name__)


class Hold(Protocol):
    """A lease as the driver and its effects see it."""

    @property
    def token(self) -> int:
        """The fencing token."""
        ...

    @property
    def owner(self) -> str:
        """The process that holds it."""
        ...

    def check(self) -> None:
        """Raise :class:`FencedError` when the lease is lost or has lapsed."""
        ...


class Keeper:
    """A lease that is being kept; :func:`keep_alive` makes one.

    Parameters
    ----------
    leases
        Where the lease is kept.
    lease
        The lease as acquired.

    Attributes
    ----------
    lost
        Set as soon as the lease is known to be lost. An effect that takes long may wait on it.
    """

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease
        self.lost = threading.Event()

    @property
    def lease(self) -> Lease:
        """The lease as last renewed."""
        return self._lease

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._lease.token

    @property
    def owner(self) -> str:
        """The process that holds the lease."""
        return self._lease.owner

    def check(self) -> None:
        """Raise :class:`FencedError` when the lease is lost, or was not renewed in time."""
        lease = self._lease
        if not self.lost.is_set() and self._leases.clock() < lease.expires_at:
            return
        raise FencedError(
            f"run {lease.run_id!r}",
            expected=f"the lease of volume {lease.volume!r} with token {lease.token}",
            found="another holder" if self.lost.is_set() else f"a lease that lapsed at {lease.expires_at.isoformat()}",
            cause="the process stood still for longer than the lease, or the journal's database did not answer",
            next_step="let the recovery finish the run; do nothing here",
        )

    def renew(self) -> bool:
        """Renew once; return whether the lease is still held as far as can be told."""
        try:
            self._lease = self._leases.renew(self._lease)
        except FencedError:
            self.lost.set()
            return False
        except Exception:  # noqa: BLE001 -- any database's own kind of error
            # The database may be back before the lease lapses; `check` stops the driver when it is not.
            _LOG.warning("lease of volume %r could not be renewed", self._lease.volume, exc_info=True)
        return True


@contextmanager
def keep_alive(leases: Leases, lease: Lease, *, interval_s: float | None = None) -> Iterator[Keeper]:
    """Keep a lease renewed by a thread while the block runs; the lease itself is not released at its end.

    Parameters
    ----------
    leases, lease
        Where the lease is kept, and the lease.
    interval_s
        Seconds between renewals; by default a third of the time to live, so that two may be lost.
    """
    keeper = Keeper(leases, lease)
    pause_s = lease.ttl_s / 3 if interval_s is None else interval_s
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(pause_s) and keeper.renew():
            pass

    thread = threading.Thread(target=beat, name=f"lease-{lease.volume}", daemon=True)
    thread.start()
    try:
        yield keeper
    finally:
        stop.set()
        thread.join()
