"""A real Prefect server for the session, and settings of a machine for the flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed, deploy
from machine import Machine, running_machine
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.local_server import LocalPrefectServer
from nightwell.store.location import StoreLocation


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPrefectServer]:
    server = LocalPrefectServer(tmp_path_factory.mktemp("prefect"))
    # Without the heartbeat a synchronous flow run ends a second earlier; what it is for is not tested here.
    with temporary_settings({PREFECT_API_URL: f"{server.url}/api", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield server
    server.stop()


@pytest.fixture(scope="session")
def deployed(prefect_server: LocalPrefectServer) -> Deployed:
    return deploy(prefect_server)


@pytest.fixture
def machine(
    tmp_path: Path,
    moto_server: StoreLocation,
    prefect_server: LocalPrefectServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Machine]:
    with running_machine(tmp_path, moto_server) as running:
        monkeypatch.setenv("NIGHTWELL_SETTINGS", str(running.settings_file))
        yield running
