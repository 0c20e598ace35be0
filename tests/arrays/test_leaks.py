"""An array that works every night for years holds no more files after a night than before."""

from __future__ import annotations

from pathlib import Path

from arrays.running import wait_state

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.port import PairState
from nightwell.arrays.serving import ArraySettings
from nightwell.nbd.client import NbdClient
from nightwell.nbd.wire import CHANGED


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def night(array: EmbeddedArray) -> None:
    for name in ("p", "s"):
        array.create_volume(name, 100_000)
    array.create_pair("p", "s")
    wait_state(array, "p", PairState.PAIR)
    array.split(["p"])
    with NbdClient.connect(array.export("s", writable=False).url, contexts=[CHANGED]) as client:
        list(client.extents(CHANGED))
    array.withdraw("s")
    array.delete_pair("p")
    for name in ("p", "s"):
        array.delete_volume(name)


def test_nights_leave_no_open_files(tmp_path: Path) -> None:
    before = open_files()
    with EmbeddedArray(ArraySettings("array", tmp_path)) as array:
        night(array)
        first = open_files()
        for _ in range(10):
            night(array)
        assert open_files() <= first
        array.create_volume("v", 1000)
    assert open_files() <= before
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["lock", "state.json", "v.raw"]
