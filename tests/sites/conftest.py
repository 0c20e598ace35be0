"""A machine for each test, on the session's moto."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine, running_machine

from nightwell.store.location import StoreLocation


@pytest.fixture
def machine(tmp_path: Path, moto_server: StoreLocation) -> Iterator[Machine]:
    with running_machine(tmp_path, moto_server) as running:
        yield running
