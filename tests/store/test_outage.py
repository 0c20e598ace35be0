"""A server that is away for a while costs time and nothing else; one that stays away is an error in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from backups import BLOCK_BYTES, VOLUME, back_up, contents, draft, random_bytes
from fault_proxy import Fault, FaultProxy, fault_proxy

from nightwell.errors import UnreachableError
from nightwell.store import BackupStore, StoreLocation
from nightwell.store.objects import Objects

_DATA = random_bytes(6 * BLOCK_BYTES)
# Longer than a few retries in a row take.
_AWAY_S = 2.0


@pytest.fixture
def proxy(location: StoreLocation) -> Iterator[FaultProxy]:
    with fault_proxy(location) as running:
        yield running


def _away(proxy: FaultProxy, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    proxy.plan = lambda _: Fault.LOSE_REQUEST if time.monotonic() < until_s else Fault.NONE


def test_a_backup_goes_on_when_the_server_is_back(proxy: FaultProxy) -> None:
    with BackupStore.open(replace(proxy.location, outage_s=60.0), create=True) as store:
        began_s = time.monotonic()
        _away(proxy, _AWAY_S)
        store._objects.put("any", b"of the packs")
        assert time.monotonic() - began_s >= _AWAY_S
        back_up(store, _DATA, draft(len(_DATA), "run-0", block_bytes=BLOCK_BYTES))
        _away(proxy, _AWAY_S)
        version = back_up(store, _DATA[::-1].copy(), draft(len(_DATA), "run-1"))
        assert (contents(store, version) == _DATA[::-1]).all()
        assert [known.run_id for known in store.versions(VOLUME)] == ["run-0", "run-1"]


def test_a_server_that_stays_away_is_unreachable_after_the_outage_that_was_set(proxy: FaultProxy) -> None:
    objects = Objects(replace(proxy.location, outage_s=0.5))
    proxy.plan = lambda _: Fault.LOSE_REQUEST
    began_s = time.monotonic()
    with pytest.raises(UnreachableError, match="could not write any"):
        objects.put("any", b"")
    assert time.monotonic() - began_s < 30.0
    objects.close()
