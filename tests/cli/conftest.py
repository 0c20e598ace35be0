"""One machine for all commands: each test has volumes of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.command import Cli
from machine import Machine, running_machine

from nightwell.store.location import StoreLocation


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, moto_server: StoreLocation) -> Iterator[Machine]:
    with running_machine(tmp_path_factory.mktemp("machine"), moto_server) as running:
        yield running


@pytest.fixture(scope="module")
def cli(machine: Machine) -> Cli:
    return Cli(machine.settings_file)


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * 4096)
    return file
