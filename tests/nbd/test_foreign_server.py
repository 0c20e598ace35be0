"""The client against QEMU's own server: what an array of another make would be."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from nbd.serving import eventually
from tools import tool

from nightwell.errors import CredentialsError, NightwellError, NotFoundError, UnreachableError
from nightwell.nbd.certificates import CertificateSet, make_certificates
from nightwell.nbd.client import NbdClient, list_exports
from nightwell.nbd.faults import RequestError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.wire import ALLOCATION, ZERO

MIB = 1 << 20
SIZE = 40 * MIB


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.seek(8 * MIB)
        file.write(random.Random(9).randbytes(4 * MIB))
        file.truncate(SIZE)
    return path


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def qemu_nbd(image: Path, *options: str, tls: TlsFiles | None = None) -> Iterator[str]:
    """Serve an image from a process of its own; yield the URL of its export ``v``."""
    path = image.parent / "qemu.socket"
    command = [tool("qemu-nbd"), "-t", "-f", "raw", "-x", "v", "-e", "4", "-k", str(path), "--discard=unmap"]
    scheme = "nbd+unix"
    if tls is not None:
        credentials = f"tls-creds-x509,id=tls,endpoint=server,verify-peer=yes,dir={tls.ca.parent}"
        command += ["--object", credentials, "--tls-creds", "tls"]
        scheme = "nbds+unix"
    process = subprocess.Popen([*command, *options, str(image)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        eventually(lambda: listens(path) or process.poll() is not None, within_s=20)
        assert process.poll() is None, process.stderr.read()
        yield f"{scheme}:///v?socket={quote(str(path))}"
    finally:
        process.kill()  # what it has answered is in the file already; its own ending can take long
        process.wait(30)
        process.stderr.close()


def test_reading_writing_zeroing_and_status(image: Path) -> None:
    oracle = bytearray(image.read_bytes())
    with qemu_nbd(image) as url:
        assert list_exports(url) == ("v",)
        with NbdClient.connect(url, contexts=[ALLOCATION]) as client:
            assert client.size_bytes == SIZE
            assert client.contexts == {ALLOCATION}
            assert [extent.flags & ZERO for extent in client.extents(ALLOCATION)] == [ZERO, 0, ZERO]
            assert client.read(0, SIZE) == oracle  # more than one request may carry

            data = random.Random(10).randbytes(35 * MIB)
            client.write(512, data, fua=True)
            client.zero(20 * MIB, 3 * MIB)
            client.zero(24 * MIB, MIB, may_punch=False)
            oracle[512 : 512 + len(data)] = data
            oracle[20 * MIB : 23 * MIB] = bytes(3 * MIB)
            oracle[24 * MIB : 25 * MIB] = bytes(MIB)
            client.trim(0, 512)
            client.flush()
            assert client.read(512, SIZE - 512) == oracle[512:]
            flags = {extent.flags & ZERO for extent in client.extents(ALLOCATION, 20 * MIB, 3 * MIB)}
            assert flags == {ZERO}
    assert image.read_bytes()[512:] == oracle[512:]


def test_several_contexts_of_another_make(image: Path) -> None:
    with qemu_nbd(image, "-A") as url:
        wanted = [ALLOCATION, "qemu:allocation-depth", "nightwell:changed"]
        with NbdClient.connect(url, contexts=wanted) as client:
            assert client.contexts == {ALLOCATION, "qemu:allocation-depth"}
            assert sum(extent.length_bytes for extent in client.extents("qemu:allocation-depth")) == SIZE


def test_a_read_only_export(image: Path) -> None:
    with qemu_nbd(image, "-r") as url, NbdClient.connect(url) as client:
        assert client.read_only
        with pytest.raises(RequestError):
            client.write(0, b"x")
        assert client.read(8 * MIB, 100) == image.read_bytes()[8 * MIB : 8 * MIB + 100]


def test_an_unknown_export(image: Path) -> None:
    with qemu_nbd(image) as url, pytest.raises(NotFoundError):
        NbdClient.connect(url.replace("/v?", "/w?"))


def test_a_server_that_dies_is_unreachable(image: Path) -> None:
    with qemu_nbd(image) as url:
        client = NbdClient.connect(url)
    with pytest.raises(UnreachableError):
        client.read(0, MIB)


def test_four_connections_at_once(image: Path) -> None:
    with qemu_nbd(image) as url:
        clients = [NbdClient.connect(url) for _ in range(4)]
        for number, client in enumerate(clients):
            client.write(number * MIB, bytes([number + 1]) * MIB)
        for client in clients:
            client.close()
    assert image.read_bytes()[: 4 * MIB] == b"".join(bytes([number]) * MIB for number in range(1, 5))


def test_tls_verifies_both_sides(image: Path, certificates: CertificateSet, tmp_path: Path) -> None:
    other = make_certificates(tmp_path / "other")
    with qemu_nbd(image, tls=certificates.server) as url:
        with NbdClient.connect(url, tls=certificates.client, contexts=[ALLOCATION]) as client:
            assert client.read(0, SIZE) == image.read_bytes()
            client.write(0, b"secret" * 1000, fua=True)
        assert image.read_bytes().startswith(b"secret")
        attempts: list[tuple[type[NightwellError], Callable[[], NbdClient]]] = [
            (CredentialsError, lambda: NbdClient.connect(url.replace("nbds", "nbd"))),
            (CredentialsError, lambda: NbdClient.connect(url, tls=other.client)),
        ]
        for expected, attempt in attempts:
            with pytest.raises(expected):
                attempt()


def test_an_odd_size_is_read_to_its_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(os.urandom(1_000_001))
    with qemu_nbd(path) as url, NbdClient.connect(url, contexts=[ALLOCATION]) as client:
        assert client.size_bytes >= 1_000_001  # QEMU may round up to whole sectors
        assert client.read(0, client.size_bytes)[:1_000_001] == path.read_bytes()
        assert sum(extent.length_bytes for extent in client.extents(ALLOCATION)) == client.size_bytes
