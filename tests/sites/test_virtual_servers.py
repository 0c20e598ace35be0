"""The whole road through each kind of virtual server that can be had on one machine, over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import MIB, Machine, noise, running_machine
from tools import tool

from nightwell.protocol import Phase
from nightwell.store.location import StoreLocation


@pytest.fixture
def machine(tmp_path: Path, moto_server: StoreLocation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    tool("runc")
    monkeypatch.setenv("NIGHTWELL_DESTINATION__SERVERS__DRIVER", "runc")
    with running_machine(tmp_path, moto_server) as running:
        yield running


def test_a_backup_and_a_restore_through_containers(machine: Machine) -> None:
    machine.make_volume("well", 24 * MIB, data=noise(9 * MIB))
    before = machine.digest("well")
    run = machine.source.back_up("well")
    assert run.phase is Phase.DONE, run.failure
    assert run.version_id
    machine.make_volume("third", 24 * MIB, data=noise(MIB))
    restored = machine.source.restore("well", run.version_id, "third")
    assert restored.phase is Phase.DONE, restored.failure
    assert machine.digest("third") == before
    assert machine.leftovers() == []
