"""What a container may see of an NBD server: its own export, whatever the server would show."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tools import tool

from nightwell.nbd.certificates import CertificateSet, make_certificates
from nightwell.nbd.server import NbdServer
from nightwell.nbd.tls import TlsFiles
from nightwell.servers.port import Address, ServerSpec
from nightwell.servers.runc import RuncServers
from nightwell.testing.nbd import MemoryBackend, MemoryExports

SIZE_BYTES = 3 << 20
LOOK = """
import json, sys
from nightwell.errors import NightwellError
from nightwell.nbd.client import NbdClient, list_exports
base = sys.argv[1]
def tried(call):
    try: return call()
    except NightwellError as error: return type(error).__name__
def read(name):
    with NbdClient.connect(base + name, contexts=("base:allocation",)) as client:
        whole = client.read(0, client.size_bytes)
        client.write(4096, b"written")
        client.flush()
        return [len(whole), whole[:4].decode(), client.read(4096, 7).decode(), sorted(client.contexts)]
print(json.dumps([tried(lambda: read("own")), tried(lambda: read("others")), tried(lambda: read("ow")),
                  tried(lambda: list_exports(base + "own"))]), flush=True)
"""


@pytest.fixture
def volumes() -> dict[str, MemoryBackend]:
    made = {name: MemoryBackend(SIZE_BYTES) for name in ("own", "others")}
    for name, volume in made.items():
        volume.data[:4] = name[:3].encode().ljust(4)
    return made


@pytest.fixture
def exports(volumes: dict[str, MemoryBackend]) -> MemoryExports:
    made = MemoryExports()
    made.backends.update(volumes)
    return made


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateSet:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[RuncServers]:
    tool("runc")
    driver = RuncServers(tmp_path / "servers")
    yield driver
    for info in driver.servers():
        driver.delete(info.server_id)


def look(servers: RuncServers, server: NbdServer, tls: TlsFiles | None) -> list[object]:
    """What a program in a container sees of a server of which it may open the export "own"."""
    host, port = server.address
    command = (sys.executable, "-c", LOOK, f"nbd://{host}:{port}/")
    handle = servers.produce(ServerSpec("vs-1", "run-1", command, reachable=(Address(host, port, "own", tls),)))
    with closing(handle.stdin), closing(handle.stdout):
        line = handle.stdout.readline()
    assert line, handle.read_errors()
    found: list[object] = json.loads(line)
    return found


@pytest.mark.parametrize("secure", [False, True])
def test_one_export_and_no_list(
    *,
    secure: bool,
    servers: RuncServers,
    exports: MemoryExports,
    volumes: dict[str, MemoryBackend],
    certificates: CertificateSet,
) -> None:
    server = NbdServer(exports, tls=certificates.server if secure else None)
    server.start()
    try:
        found = look(servers, server, certificates.client if secure else None)
    finally:
        server.stop()
    assert found[0] == [SIZE_BYTES, "own ", "written", ["base:allocation"]]
    assert found[1:] == ["NotFoundError", "NotFoundError", "ConflictError"]
    assert volumes["own"].data[4096:4103] == b"written"
    assert volumes["others"].data[4096:4103] == bytes(7)


def test_an_array_that_we_do_not_trust_is_not_spoken_to(
    servers: RuncServers, exports: MemoryExports, certificates: CertificateSet, tmp_path: Path
) -> None:
    strangers = make_certificates(tmp_path / "strangers")
    server = NbdServer(exports, tls=strangers.server)
    server.start()
    try:
        found = look(servers, server, certificates.client)
    finally:
        server.stop()
    assert found == ["UnreachableError"] * 4
