"""A store of its own for each test, on both servers where that matters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3 import fresh_prefix

from nightwell.store import BackupStore, StoreLocation


@pytest.fixture
def location(moto_server: StoreLocation) -> StoreLocation:
    return fresh_prefix(moto_server)


@pytest.fixture
def store(location: StoreLocation) -> Iterator[BackupStore]:
    with BackupStore.open(location, create=True) as opened:
        yield opened


@pytest.fixture(params=["moto_server", "seaweed"])
def store_on_each(request: pytest.FixtureRequest) -> Iterator[BackupStore]:
    server: StoreLocation = request.getfixturevalue(request.param)
    with BackupStore.open(fresh_prefix(server), create=True) as opened:
        yield opened
