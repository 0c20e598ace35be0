from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mover.rig import Rig
from s3 import fresh_prefix

from nightwell.servers.process import ProcessServers
from nightwell.store import BackupStore, StoreLocation


@pytest.fixture
def rig(moto_server: StoreLocation, tmp_path: Path) -> Iterator[Rig]:
    location = fresh_prefix(moto_server)
    BackupStore.open(location, create=True).close()
    made = Rig(location, ProcessServers(tmp_path / "servers"))
    yield made
    made.close()
