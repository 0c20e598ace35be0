"""Other people's tools against the server: libnbd's nbdinfo and nbdcopy, QEMU's qemu-img, fio."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from nbd.serving import Files, Serve, Served
from tools import tool

from nightwell.nbd.certificates import CertificateSet
from nightwell.nbd.wire import Extent
from nightwell.testing.nbd import MemoryBackend, MemoryExports

MIB = 1 << 20
SIZE = 24 * MIB + 777  # not a multiple of 512
DATA_START, DATA_LENGTH = 5 * MIB, 7 * MIB


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """Make a directory with a sparse file of data, one that is empty, and one that is read-only."""
    directory = tmp_path / "volumes"
    directory.mkdir()
    data = random.Random(5).randbytes(DATA_LENGTH)
    for name in ("data", "frozen.ro"):
        with (directory / name).open("wb") as file:
            file.seek(DATA_START)
            file.write(data)
            file.truncate(SIZE)
    (directory / "empty").touch()
    os.truncate(directory / "empty", SIZE)
    return directory


@pytest.fixture
def served(serve: Serve, volumes: Path) -> Served:
    return serve(Files(volumes), unix_path=volumes.parent / "socket")


# Else nbdinfo asks the program `file` what the volume holds, and where that is missing its own output is broken.
NO_CONTENT = ("--no-content",)


def run(*command: str | Path) -> str:
    program, *arguments = map(str, command)
    done = subprocess.run([tool(program), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_nbdinfo_sees_what_the_export_can_do(served: Served) -> None:
    (export,) = json.loads(run("nbdinfo", *NO_CONTENT, "--json", served.url("data")))["exports"]
    abilities = ("can_df", "can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero")
    assert all(export[ability] for ability in abilities)
    assert not export["is_read_only"]
    assert export["contexts"] == ["base:allocation"]
    assert export["export-size"] == SIZE
    assert (export["block_size_minimum"], export["block_size_maximum"]) == (1, 32 * MIB)
    (frozen,) = json.loads(run("nbdinfo", *NO_CONTENT, "--json", served.url("frozen.ro")))["exports"]
    assert frozen["is_read_only"]


def test_nbdinfo_lists_every_export(served: Served) -> None:
    exports = json.loads(run("nbdinfo", *NO_CONTENT, "--list", "--json", served.url("")))["exports"]
    assert [export["export-name"] for export in exports] == ["data", "empty", "frozen.ro"]


def test_nbdinfo_maps_data_and_holes(served: Served) -> None:
    rows = json.loads(run("nbdinfo", "--map", "--json", served.url("data")))
    assert [(row["offset"], row["length"], row["type"]) for row in rows] == [
        (0, DATA_START, 3),
        (DATA_START, DATA_LENGTH, 0),
        (DATA_START + DATA_LENGTH, SIZE - DATA_START - DATA_LENGTH, 3),
    ]


def test_nbdinfo_maps_a_context_of_our_own(serve: Serve) -> None:
    changed = (Extent(0, 65536, 0), Extent(65536, 65536, 1), Extent(131072, 1000, 0))
    served = serve(MemoryExports(v=MemoryBackend(132072, statuses={"nightwell:changed": changed})))
    rows = json.loads(run("nbdinfo", "--map=nightwell:changed", "--json", served.url("v")))
    assert tuple(Extent(row["offset"], row["length"], row["type"]) for row in rows) == changed


@pytest.mark.parametrize("connections", ["1", "4"])
def test_nbdcopy_reads_a_volume(served: Served, volumes: Path, tmp_path: Path, connections: str) -> None:
    run("nbdcopy", f"--connections={connections}", served.url("data"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (volumes / "data").read_bytes()


@pytest.mark.parametrize("connections", ["1", "4"])
def test_nbdcopy_writes_a_volume_over_old_bytes(served: Served, volumes: Path, connections: str) -> None:
    (volumes / "empty").write_bytes(b"\xff" * SIZE)
    run("nbdcopy", "--flush", f"--connections={connections}", volumes / "data", served.url("empty"))
    assert (volumes / "empty").read_bytes() == (volumes / "data").read_bytes()


def test_nbdcopy_over_the_unix_socket_from_export_to_export(served: Served, volumes: Path) -> None:
    socket = volumes.parent / "socket"
    run("nbdcopy", f"nbd+unix:///data?socket={socket}", f"nbd+unix:///empty?socket={socket}")
    assert (volumes / "empty").read_bytes() == (volumes / "data").read_bytes()


def test_nbdcopy_does_not_write_a_read_only_volume(served: Served, volumes: Path) -> None:
    before = (volumes / "frozen.ro").read_bytes()
    command = [tool("nbdcopy"), str(volumes / "empty"), served.url("frozen.ro")]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0
    assert (volumes / "frozen.ro").read_bytes() == before


def test_qemu_img_reads_size_and_map(served: Served) -> None:
    url = served.url("data")
    info = json.loads(run("qemu-img", "info", "-f", "raw", "--output=json", url))
    assert info["virtual-size"] == (SIZE + 511) // 512 * 512  # QEMU counts whole sectors
    rows = json.loads(run("qemu-img", "map", "-f", "raw", "--output=json", url))
    assert [(row["start"], row["length"]) for row in rows if not row["zero"]] == [(DATA_START, DATA_LENGTH)]


def test_qemu_img_compares_a_volume_with_its_file(served: Served, volumes: Path) -> None:
    assert "identical" in run("qemu-img", "compare", "-f", "raw", "-F", "raw", served.url("data"), volumes / "data")
    with (volumes / "data").open("r+b") as file:
        file.seek(DATA_START + 12345)
        file.write(b"!")
    copy = volumes.parent / "copy"
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", served.url("data"), copy)
    assert copy.read_bytes()[:SIZE] == (volumes / "data").read_bytes()


def test_qemu_img_writes_a_volume(serve: Serve, tmp_path: Path) -> None:
    directory = tmp_path / "whole"
    directory.mkdir()
    source = directory / "source"
    source.write_bytes(bytes(MIB) + random.Random(6).randbytes(4 * MIB) + bytes(3 * MIB))
    (directory / "target").write_bytes(b"\xff" * (8 * MIB))
    served = serve(Files(directory))
    run("qemu-img", "convert", "-n", "-W", "-m", "8", "-f", "raw", "-O", "raw", source, served.url("target"))
    assert (directory / "target").read_bytes() == source.read_bytes()
    run("qemu-img", "compare", "-f", "raw", "-F", "raw", served.url("source"), served.url("target"))


@pytest.mark.parametrize("pattern", ["randwrite", "write"])
def test_fio_verifies_what_it_wrote(served: Served, tmp_path: Path, pattern: str) -> None:
    report = run(
        "fio",
        "--name=verify",
        "--ioengine=nbd",
        f"--uri={served.url('empty')}",
        f"--rw={pattern}",
        "--bsrange=512-64k",
        "--size=8M",
        "--iodepth=16",
        "--verify=crc32c",
        "--verify_fatal=1",
        "--end_fsync=1",
        f"--aux-path={tmp_path}",
        "--output-format=json",
    )
    (job,) = json.loads(report[report.index("{") :])["jobs"]
    assert job["error"] == 0
    assert job["write"]["io_bytes"] == 8 * MIB
    assert job["read"]["io_bytes"] == 8 * MIB


def test_tls_with_libnbd_and_qemu(serve: Serve, volumes: Path, certificates: CertificateSet, tmp_path: Path) -> None:
    served = serve(Files(volumes), tls=certificates.server)
    directory = certificates.client.ca.parent
    url = f"{served.url('data')}?tls-certificates={directory}"
    assert json.loads(run("nbdinfo", *NO_CONTENT, "--json", url))["TLS"] is True
    run("nbdcopy", url, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (volumes / "data").read_bytes()
    _, port = served.server.address
    credentials = f"tls-creds-x509,id=tls,endpoint=client,dir={directory}"
    image = f"driver=nbd,host=127.0.0.1,port={port},export=data,tls-creds=tls"
    info = run("qemu-img", "info", "--object", credentials, "--image-opts", image, "--output=json")
    assert json.loads(info)["virtual-size"] >= SIZE


def test_libnbd_without_a_certificate_is_refused(
    serve: Serve, volumes: Path, certificates: CertificateSet, tmp_path: Path
) -> None:
    served = serve(Files(volumes), tls=certificates.server)
    (tmp_path / "ca-cert.pem").write_bytes(certificates.client.ca.read_bytes())
    for url in (f"{served.url('data')}?tls-certificates={tmp_path}", served.url("data").replace("nbds", "nbd")):
        done = subprocess.run([tool("nbdinfo"), url], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode != 0
        assert "export-size" not in done.stdout
