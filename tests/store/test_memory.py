"""The memory of an ingest is a declared number, whatever the volume's size: measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from s3 import fresh_prefix

from nightwell.store import StoreLocation
from nightwell.store.blocks import LARGEST_BLOCK_BYTES, MAX_BLOCKS, block_count, default_block_bytes
from nightwell.store.pipeline import pipeline_memory_bytes

_MOVER_BYTES = 512 << 20
_TIB = 1 << 40

_PROGRAM = """
import json, sys
import numpy as np
from nightwell.store import BackupStore, StoreLocation, VersionDraft
from nightwell.store.blocks import block_count, default_block_bytes
from nightwell.store.pipeline import ChangeHint, ingest

job = json.loads(sys.argv[1])
size, stored = job["size_bytes"], job["stored_bytes"]
block = job["block_bytes"] or default_block_bytes(size)
noise = np.random.default_rng(0).integers(0, 256, (4 << 20) + 65536, dtype=np.uint8) if job["random"] else None

class Source:
    # Data in the first bytes, no two blocks alike, without holding it: zeros after it.
    size_bytes = size
    def open(self): return self
    def close(self): pass
    def read_into(self, offset_bytes, view):
        data = np.frombuffer(view, dtype=np.uint8)
        data[:] = 0
        if offset_bytes >= stored:
            return
        if noise is not None:
            data[:] = noise[: len(data)]
        words = data[: len(data) // block * block].view(np.uint64).reshape(-1, block // 8)
        words[:, 0] = np.arange(len(words), dtype=np.uint64) + np.uint64(offset_bytes // block + 1)

blocks = block_count(size, block)
zero = np.zeros(blocks, dtype=bool)
zero[stored // block :] = True
draft = VersionDraft(
    volume="v", size_bytes=size, run_id="r", fencing_token=1, source="s", mode="direct", block_bytes=block
)
with BackupStore.open(StoreLocation(**job["location"]), create=True) as store:
    writer = store.begin(draft)
    version = writer.commit(ingest(Source(), writer, hint=ChangeHint(None, known_zero=zero)))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([int(status["VmHWM"].split()[0]) << 10, blocks, block, version.statistics.blocks_stored]))
"""


@pytest.mark.parametrize(
    ("size_bytes", "stored_bytes", "block_bytes", "random"),
    [
        pytest.param(_TIB, 64 << 20, None, True, id="1 TiB, sparse"),
        pytest.param(256 << 20, 256 << 20, 1 << 20, True, id="dense, large blocks"),
        pytest.param(192 << 20, 192 << 20, 4 << 10, False, id="dense, 49152 blocks"),
    ],
)
def test_peak_memory_stays_below_what_is_declared(
    moto_server: StoreLocation, size_bytes: int, stored_bytes: int, block_bytes: int | None, *, random: bool
) -> None:
    location = fresh_prefix(moto_server)
    names = ("endpoint_url", "bucket", "access_key", "secret_key", "prefix")
    job = {
        "location": {name: getattr(location, name) for name in names},
        "size_bytes": size_bytes,
        "stored_bytes": stored_bytes,
        "block_bytes": block_bytes,
        "random": random,
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(job)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    peak_bytes, blocks, block, stored = json.loads(done.stdout)
    assert stored == stored_bytes // block
    declared_bytes = pipeline_memory_bytes(blocks_total=blocks, block_bytes=block)
    assert peak_bytes < declared_bytes <= _MOVER_BYTES


def test_the_declared_memory_fits_a_mover_for_volumes_of_any_size_up_to_8_tib() -> None:
    for size_bytes in (1, 1 << 30, 32 << 30, (32 << 30) + 1, _TIB, 8 * _TIB):
        block_bytes = default_block_bytes(size_bytes)
        blocks = block_count(size_bytes, block_bytes)
        assert blocks <= MAX_BLOCKS
        assert pipeline_memory_bytes(blocks_total=blocks, block_bytes=block_bytes) <= _MOVER_BYTES
    assert default_block_bytes(100 * _TIB) == LARGEST_BLOCK_BYTES
