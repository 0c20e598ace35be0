"""The mover's memory is a declared number; a real mover is held against it on a volume that would not fit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from mover.rig import VOLUME, Rig
from s3 import fresh_prefix

from nightwell.mover.job import MOVER_MEMORY_BYTES, CopyMode
from nightwell.nbd.backend import Backend
from nightwell.nbd.file_backend import FileBackend
from nightwell.servers.process import ProcessServers
from nightwell.store import BackupStore, StoreLocation

SIZE_BYTES = 64 << 30  # the number of its blocks, 524,288, is the most that any volume up to 8 TiB has
PIECE_BYTES = 1 << 20
PIECES = 600


class SparseFiles:
    """Serves the files of a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> tuple[str, ...]:
        return tuple(path.name for path in self.directory.iterdir())

    def open(self, name: str) -> Backend:
        return FileBackend(self.directory / name, writable=name == "third")


@contextmanager
def peak_of(pid: int) -> Iterator[dict[str, int]]:
    """Watch a process until it ends; its peak of resident memory in bytes, under ``peak``."""
    found = {"peak": 0}

    def watch() -> None:
        while True:
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                return
            peak = next((line for line in lines if line.startswith("VmHWM")), None)
            if peak is None:  # it has ended, and waits to be reaped
                return
            found["peak"] = int(peak.split()[1]) << 10
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield found
    watcher.join()


@pytest.fixture
def big(seaweed: StoreLocation, tmp_path: Path) -> Iterator[Rig]:
    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for name in (VOLUME, "third"):
        with (volumes / name).open("wb") as file:
            file.truncate(SIZE_BYTES)
    generator = np.random.default_rng(5)
    with (volumes / VOLUME).open("r+b") as file:
        for at in np.linspace(0, SIZE_BYTES - PIECE_BYTES, PIECES).astype(np.int64):
            file.seek(int(at))
            file.write(generator.bytes(PIECE_BYTES))
    location = fresh_prefix(seaweed)
    BackupStore.open(location, create=True).close()
    rig = Rig(location, ProcessServers(tmp_path / "servers"), exports=SparseFiles(volumes))
    yield rig
    rig.close()
    for name in (VOLUME, "third"):
        (volumes / name).unlink()


def test_a_mover_keeps_to_its_memory_both_ways(big: Rig, tmp_path: Path) -> None:
    mover = big.produce()
    with peak_of(big.process.pid) as backup:
        mover.start(big.backup_job(mode=CopyMode.DIRECT, block_bytes=None))
        mover.wait_copied()
        version = mover.commit()
        big.process.wait(20)
    assert version.statistics.blocks_total == 1 << 19
    assert version.statistics.bytes_stored > PIECES * PIECE_BYTES
    mover = big.produce()
    with peak_of(big.process.pid) as restore:
        # Reading 64 GiB of zeros back would take the minute that all tests have; verifying has tests of its own.
        mover.start(big.restore_job(version, verify=False))
        assert mover.wait_restored().bytes_written >= PIECES * PIECE_BYTES
        mover.wait_verified()
        big.process.wait(20)
    assert 64 << 20 < backup["peak"] <= MOVER_MEMORY_BYTES
    assert 64 << 20 < restore["peak"] <= MOVER_MEMORY_BYTES
    with (tmp_path / "volumes/third").open("rb") as file, (tmp_path / "volumes" / VOLUME).open("rb") as original:
        for at in np.linspace(0, SIZE_BYTES - PIECE_BYTES, PIECES).astype(np.int64).tolist()[::50]:
            assert file.seek(at) == original.seek(at)
            assert file.read(PIECE_BYTES) == original.read(PIECE_BYTES)
