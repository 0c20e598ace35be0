"""Servers that stop with their test, and one set of certificates for the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nbd.serving import Serve, Served

from nightwell.nbd.backend import ExportTable
from nightwell.nbd.certificates import CertificateSet, make_certificates
from nightwell.nbd.server import NbdServer
from nightwell.nbd.tls import TlsFiles


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[NbdServer] = []

    def start(
        table: ExportTable, *, unix_path: Path | None = None, tls: TlsFiles | None = None, handshake_s: float = 10.0
    ) -> Served:
        server = NbdServer(table, unix_path=unix_path, tls=tls, handshake_s=handshake_s)
        server.start()
        servers.append(server)
        return Served(server, secure=tls is not None)

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateSet:
    return make_certificates(tmp_path_factory.mktemp("certificates"))
