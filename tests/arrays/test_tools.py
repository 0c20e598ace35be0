"""The common NBD tools against a running array."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from arrays.running import RunningArray, wait_state
from tools import tool

from nightwell.arrays.port import PairState
from nightwell.nbd.client import NbdClient

MIB = 1 << 20
SIZE_BYTES = 32 * MIB + 512  # whole sectors, for the tools that know nothing smaller


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def split(small: RunningArray, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunningArray, str, str, Path]:
    """Give an array with a pair that was split twice, its two URLs, and a file of what S holds."""
    array = small.client
    for name in ("p", "s"):
        array.create_volume(name, SIZE_BYTES)
    p_url = array.export("p", writable=True).url
    image = tmp_path_factory.mktemp("image") / "image.raw"
    data = bytearray(SIZE_BYTES)
    data[: 4 * MIB] = os.urandom(4 * MIB)
    data[-512:] = os.urandom(512)
    image.write_bytes(data)
    run(tool("nbdcopy"), "--flush", str(image), p_url)
    array.create_pair("p", "s")
    wait_state(array, "p", PairState.PAIR)
    array.split(["p"])
    with NbdClient.connect(p_url) as client:
        client.write(16 * MIB, b"changed")
    array.resync("p")
    wait_state(array, "p", PairState.PAIR)
    array.split(["p"])
    data[16 * MIB : 16 * MIB + 7] = b"changed"
    image.write_bytes(data)
    return small, p_url, array.export("s", writable=False).url, image


Split = tuple[RunningArray, str, str, Path]


def test_nbdinfo_sees_sizes_contexts_and_changes(split: Split) -> None:
    _, _, url, _ = split
    (export,) = json.loads(run(tool("nbdinfo"), "--json", url))["exports"]
    assert export["export-size"] == SIZE_BYTES
    assert export["is_read_only"]
    assert export["can_multi_conn"]
    assert set(export["contexts"]) == {"base:allocation", "nightwell:changed", "nightwell:pair"}
    changed = json.loads(run(tool("nbdinfo"), "--json", "--map=nightwell:changed", url))
    assert [(extent["offset"], extent["length"]) for extent in changed if extent["type"]] == [(16 * MIB, 65536)]
    (pair,) = json.loads(run(tool("nbdinfo"), "--json", "--map=nightwell:pair", url))
    assert (pair["length"], pair["type"] & 0xFF) == (SIZE_BYTES, 3)


def test_nbdinfo_lists_the_exports(split: Split) -> None:
    listed = json.loads(run(tool("nbdinfo"), "--json", "--list", split[0].ready["nbd"]))
    assert {"p", "s"} <= {export["export-name"] for export in listed["exports"]}


def test_nbdcopy_reads_what_s_holds(split: Split, tmp_path: Path) -> None:
    target = tmp_path / "copy.raw"
    run(tool("nbdcopy"), "--connections=4", split[2], str(target))
    assert target.read_bytes() == split[3].read_bytes()


def test_qemu_img_compares_converts_and_maps(split: Split, tmp_path: Path) -> None:
    _, p_url, s_url, image = split
    assert "identical" in run(tool("qemu-img"), "compare", "-f", "raw", "-F", "raw", s_url, str(image))
    assert "identical" in run(tool("qemu-img"), "compare", "-f", "raw", "-F", "raw", s_url, p_url)
    target = tmp_path / "converted.raw"
    run(tool("qemu-img"), "convert", "-f", "raw", "-O", "raw", s_url, str(target))
    assert target.read_bytes() == image.read_bytes()
    mapped = json.loads(run(tool("qemu-img"), "map", "-f", "raw", "--output=json", s_url))
    assert sum(extent["length"] for extent in mapped) == SIZE_BYTES
    data = [(extent["start"], extent["length"]) for extent in mapped if extent["data"]]
    assert data[0][0] == 0
    assert 4 * MIB <= sum(length for _, length in data) < 8 * MIB


def test_qemu_img_writes_into_a_volume(small: RunningArray, split: Split) -> None:
    small.client.create_volume("q", SIZE_BYTES)
    url = small.client.export("q", writable=True).url
    run(tool("qemu-img"), "convert", "-n", "-f", "raw", "-O", "raw", str(split[3]), url)
    assert small.volume_bytes("q") == split[3].read_bytes()


def test_fio_verifies_what_it_writes_through_a_pair(small: RunningArray) -> None:
    array = small.client
    for name in ("fp", "fs"):
        array.create_volume(name, 8 * MIB)
    array.create_pair("fp", "fs")
    wait_state(array, "fp", PairState.PAIR)
    url = array.export("fp", writable=True).url
    report = run(
        *(tool("fio"), "--name=pair", "--ioengine=nbd", f"--uri={url}", "--rw=randwrite", "--bs=4k", "--iodepth=16"),
        *("--size=8m", "--verify=crc32c", "--do_verify=1", "--verify_state_save=0", "--output-format=json"),
    )
    (job,) = json.loads(report[report.index("{") :])["jobs"]
    assert job["error"] == 0
    assert job["write"]["total_ios"] == 2048
    array.split(["fp"])
    assert small.volume_bytes("fp") == small.volume_bytes("fs")
