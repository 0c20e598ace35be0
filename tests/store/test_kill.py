"""A backup killed at any of its S3 requests leaves the store at the previous version, and can be run again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess

import killed_backup
import numpy as np
import pytest
from backups import BLOCK_BYTES, Data, back_up, contents, draft, random_bytes
from fault_proxy import Fault, FaultProxy, Request, fault_proxy

from nightwell.store import BackupStore

_FINISHED = 0
_DEADLINE_S = 60
_MOST_REQUESTS = 150


class Killer:
    """Runs backups that are killed with SIGKILL when they send a given request, before the server sees it."""

    def __init__(self, proxy: FaultProxy, processes: ForkServerContext) -> None:
        self.proxy = proxy
        self._processes = processes
        self._victim: BaseProcess | None = None

    def run(self, volume: str, run_id: str, data: Data, *, kill_at: int) -> bool:
        """Return whether the backup came to its end."""

        def plan(request: Request) -> Fault:
            if request.number < kill_at:
                return Fault.NONE
            victim = self._victim
            assert victim is not None
            assert victim.pid is not None
            if request.number == kill_at:  # not before: it cannot have ended while it waits for an answer
                os.kill(victim.pid, signal.SIGKILL)
            return Fault.LOSE_REQUEST

        self._victim = self._processes.Process(
            target=killed_backup.run, args=(self.proxy.location, volume, run_id, data)
        )
        self.proxy.reset()
        self.proxy.plan = plan
        self._victim.start()
        self._victim.join(_DEADLINE_S)
        status = self._victim.exitcode
        self._victim.close()
        assert status in {_FINISHED, -signal.SIGKILL}
        return status == _FINISHED


@pytest.fixture
def killer(store: BackupStore) -> Iterator[Killer]:
    with fault_proxy(store.location) as proxy:
        yield Killer(proxy, killed_backup.warm_processes())


def test_a_first_backup_killed_at_any_request_leaves_no_version_and_can_be_run_again(
    store: BackupStore, killer: Killer
) -> None:
    data = random_bytes(3 * BLOCK_BYTES + 5)
    for kill_at in range(1, _MOST_REQUESTS):
        volume = f"volume-{kill_at}"
        finished = killer.run(volume, "run", data, kill_at=kill_at)
        if not finished and volume in store.volumes():
            assert store.versions(volume) == _made_by(store, volume, "run")
        again = back_up(store, data, draft(len(data), "run", volume=volume, block_bytes=BLOCK_BYTES))
        assert store.versions(volume) == (again,)
        np.testing.assert_array_equal(contents(store, again), data)
        if finished:
            break
    else:
        pytest.fail("the backup never came to its end")
    assert kill_at > 20


def test_an_increment_killed_at_any_request_leaves_the_previous_version_whole(
    store: BackupStore, killer: Killer
) -> None:
    volume = "volume"
    data = random_bytes(6 * BLOCK_BYTES)
    back_up(store, data, draft(len(data), "run-0", volume=volume, block_bytes=BLOCK_BYTES))
    for kill_at in range(1, _MOST_REQUESTS):
        before = store.versions(volume)
        changed = _next(data, kill_at)
        run_id = f"run-{kill_at}"
        finished = killer.run(volume, run_id, changed, kill_at=kill_at)
        # Only a kill after the commit itself may leave the new version there.
        made = _made_by(store, volume, run_id)
        assert made or not finished
        assert store.versions(volume) == (*before, *made)
        np.testing.assert_array_equal(contents(store, before[-1]), data)
        if made:
            again = back_up(store, changed, draft(len(data), run_id, volume=volume))
            assert store.versions(volume) == (*before, again)
            np.testing.assert_array_equal(contents(store, again), changed)
            data = changed
        if finished:
            break
    else:
        pytest.fail("the backup never came to its end")
    assert kill_at > 20
    assert len(store.versions(volume)) > 2  # some were killed after their commit
    assert all(store.verify(version).ok for version in store.versions(volume))
    assert store.orphans(volume)  # what the killed ones had uploaded


def _made_by(store: BackupStore, volume: str, run_id: str) -> tuple[object, ...]:
    version = store.version_of_run(volume, run_id)
    return () if version is None else (version,)


def _next(data: Data, turn: int) -> Data:
    """Change one block, zero another, and fill one that was zero."""
    changed = data.copy()
    blocks = len(data) // BLOCK_BYTES
    changed[(turn % blocks) * BLOCK_BYTES + 9] ^= 0x55
    at = (turn + 2) % blocks * BLOCK_BYTES
    changed[at : at + BLOCK_BYTES] = 0 if changed[at : at + BLOCK_BYTES].any() else turn % 251 + 1
    return changed
