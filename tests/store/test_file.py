"""A version as a file: what readers of file systems need."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from backups import back_up, draft, random_bytes

from nightwell.store import BackupStore

_BLOCK = 64 << 10
_SIZE = 5 * (1 << 20) + 777


def test_a_version_reads_and_seeks_like_a_file(store: BackupStore) -> None:
    data = random_bytes(_SIZE)
    data[1 << 20 : 2 << 20] = 0
    version = back_up(store, data, draft(_SIZE, "run", block_bytes=_BLOCK))
    expected = data.tobytes()
    generator = np.random.default_rng(1)
    with store.open_version(version) as reader, reader.as_file() as raw:
        assert raw.read() == expected
        assert raw.read(10) == b""
        buffered = io.BufferedReader(raw, 8192)
        for offset in generator.integers(0, _SIZE, 50).tolist():
            assert buffered.seek(offset) == offset
            length = int(generator.integers(1, 300_000))
            assert buffered.read(length) == expected[offset : offset + length]
        assert buffered.seek(-5, os.SEEK_END) == _SIZE - 5
        assert buffered.read() == expected[-5:]
        assert raw.seekable()
        assert raw.readable()
        assert not raw.writable()
        with pytest.raises(ValueError, match="negative"):
            raw.seek(-1)
        raw.seek(_SIZE + 10)
        assert raw.read(1) == b""
    with pytest.raises(ValueError, match="closed"):
        raw.read(1)
