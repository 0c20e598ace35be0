"""kill -9 in each state, under writers: after a restart the pair is exact once it says PAIR, or it says PSUE."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from arrays.running import RunningArray, wait_until

from nightwell.arrays.port import PairInfo, PairState
from nightwell.errors import NightwellError
from nightwell.nbd.client import NbdClient

MIB = 1 << 20


@contextmanager
def writers(url: str, size_bytes: int) -> Iterator[None]:
    """Write, zero and trim at random from three connections until the array dies or the block ends."""
    stop = threading.Event()

    def write(seed: int) -> None:
        chooser = random.Random(seed)
        try:
            with NbdClient.connect(url) as client:
                while not stop.is_set():
                    offset, length = chooser.randrange(size_bytes - 200_000), chooser.randrange(1, 200_000)
                    match chooser.randrange(8):
                        case 0:
                            client.zero(offset, length)
                        case 1:
                            client.trim(offset, length)
                        case _:
                            client.write(offset, chooser.randbytes(1) * length)
        except (NightwellError, OSError):
            pass  # the array was killed: that is the test

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def filled(process: RunningArray, size_bytes: int) -> str:
    """Make ``p`` full of data and ``s`` empty; return the URL of ``p``."""
    for name in ("p", "s"):
        process.client.create_volume(name, size_bytes)
    url = process.client.export("p", writable=True).url
    with NbdClient.connect(url) as client:
        piece = os.urandom(MIB)
        for offset in range(0, size_bytes - MIB, MIB):
            client.write(offset, piece)
    return url


def pair_of(process: RunningArray) -> PairInfo:
    info = process.client.pair_of("p")
    assert info is not None
    return info


def settle(process: RunningArray) -> PairInfo:
    """Bring the pair to PAIR or PSUE, by a resync when it is split."""
    if pair_of(process).state is PairState.PSUS:
        process.client.resync("p")
    wait_until(lambda: pair_of(process).state in {PairState.PAIR, PairState.PSUE}, "PAIR or PSUE")
    return pair_of(process)


def check_exact(process: RunningArray) -> None:
    """Stop the array and compare P and S past it, in their files."""
    info = settle(process)
    assert process.stop() == 0
    if info.state is PairState.PAIR:
        assert process.volume_bytes("p") == process.volume_bytes("s"), "silently wrong"


@pytest.mark.parametrize("attempt", range(2))
def test_killed_in_the_first_copy(attempt: int, tmp_path: Path) -> None:
    size_bytes = 160 * MIB + 777
    with RunningArray("array", tmp_path) as process:
        url = filled(process, size_bytes)
        with writers(url, size_bytes):
            process.client.create_pair("p", "s")
            wait_until(lambda: pair_of(process).copied_bytes > attempt * 32 * MIB, "a part of the copy")
            seen = pair_of(process)
            process.kill()
        assert seen.state is PairState.COPY, "the copy was too quick for this test"
        process.start()
        assert pair_of(process).to_copy_bytes < size_bytes, "what was copied before was copied again"
        check_exact(process)


@pytest.mark.parametrize("attempt", range(2))
def test_killed_in_pair(attempt: int, tmp_path: Path) -> None:
    size_bytes = 16 * MIB + 777
    with RunningArray("array", tmp_path) as process:
        url = filled(process, size_bytes)
        process.client.create_pair("p", "s")
        settle(process)
        with writers(url, size_bytes):
            threading.Event().wait(0.05 + 0.03 * attempt)  # any moment will do
            process.kill()
        process.start()
        assert pair_of(process).to_copy_bytes < size_bytes // 2, "a kill in PAIR made a full copy"
        check_exact(process)


@pytest.mark.parametrize("attempt", range(2))
def test_killed_while_split(attempt: int, tmp_path: Path) -> None:
    size_bytes = 32 * MIB + 777
    with RunningArray("array", tmp_path) as process:
        url = filled(process, size_bytes)
        process.client.create_pair("p", "s")
        settle(process)
        with writers(url, MIB):
            (split,) = process.client.split(["p"])
            frozen = hashlib.blake2b(process.volume_bytes("s")).digest()
            threading.Event().wait(0.03 * attempt)
            process.kill()
        process.start()
        again = pair_of(process)
        assert (again.state, again.split_id, again.split_at) == (PairState.PSUS, split.split_id, split.split_at)
        assert hashlib.blake2b(process.volume_bytes("s")).digest() == frozen
        assert settle(process).to_copy_bytes <= 2 * MIB, "the resync was not differential"
        check_exact(process)


@pytest.mark.parametrize("attempt", range(2))
def test_killed_in_a_resync(attempt: int, tmp_path: Path) -> None:
    size_bytes = 160 * MIB + 777
    with RunningArray("array", tmp_path) as process:
        url = filled(process, size_bytes)
        process.client.create_pair("p", "s")
        settle(process)
        process.client.split(["p"])
        with NbdClient.connect(url) as client:
            piece = os.urandom(MIB)
            for offset in range(0, 128 * MIB, MIB):
                client.write(offset, piece)
        with writers(url, size_bytes):
            process.client.resync("p")
            wait_until(lambda: pair_of(process).copied_bytes > attempt * 32 * MIB, "a part of the resync")
            seen = pair_of(process)
            process.kill()
        assert seen.state is PairState.COPY, "the resync was too quick for this test"
        process.start()
        assert pair_of(process).to_copy_bytes < size_bytes
        check_exact(process)


def test_the_change_list_survives_a_kill(tmp_path: Path) -> None:
    size_bytes = 4 * MIB
    with RunningArray("array", tmp_path) as process:
        url = filled(process, size_bytes)
        process.client.create_pair("p", "s")
        settle(process)
        process.client.split(["p"])
        before = process.volume_bytes("s")
        with NbdClient.connect(url) as client:
            client.write(MIB, b"while split")
            process.client.resync("p")
            settle(process)
            client.write(2 * MIB, b"while in step")
            process.kill()
        process.start()
        wait_until(lambda: pair_of(process).state is PairState.PAIR, "PAIR")
        with NbdClient.connect(url) as client:
            client.write(3 * MIB, b"after the restart")
        (split,) = process.client.split(["p"])
        assert split.previous_split_id is not None
        process.kill()
        process.start()
        after = process.volume_bytes("s")
        export = process.client.export("s", writable=False)
        with NbdClient.connect(export.url, contexts=["nightwell:changed"]) as client:
            listed = {
                chunk
                for extent in client.extents("nightwell:changed")
                if extent.flags & 1
                for chunk in range(extent.offset_bytes // 65536, extent.end_bytes // 65536)
            }
        changed = {at // 65536 for at in range(0, size_bytes, 64) if before[at : at + 64] != after[at : at + 64]}
        assert changed == {16, 32, 48}
        assert listed >= changed
        assert len(listed) < size_bytes // 65536
