"""Copy between a file and an export, as a host with the volume attached would."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from nightwell.errors import ConflictError, InputError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.wire import ALLOCATION
from nightwell.whole_file import written_whole

_STEP_BYTES = 4 << 20
_ZERO = 2  # base:allocation: reads as zeroes


def write_file(file: Path, url: str, *, tls: TlsFiles | None = None) -> int:
    """Write a file to an export from its first byte, holes as zeroes, and flush.

    Returns
    -------
    int
        Bytes of the file.

    Raises
    ------
    InputError
        The file is larger than the volume; nothing is written.
    ConflictError
        The export is read-only.
    """
    with file.open("rb") as source, NbdClient.connect(url, tls=tls) as volume:
        size_bytes = os.fstat(source.fileno()).st_size
        if size_bytes > volume.size_bytes:
            raise InputError(
                f"file '{file}'",
                expected=f"at most {volume.size_bytes} bytes, the size of the volume",
                found=f"{size_bytes} bytes",
                cause="the volume is too small, or it is the wrong volume",
                next_step="make a larger volume",
            )
        if volume.read_only:
            raise ConflictError(
                f"export '{url}'",
                expected="a writable export",
                found="a read-only one",
                cause="the volume is a secondary, or was exported read-only",
                next_step="write to the primary",
            )
        buffer = memoryview(bytearray(_STEP_BYTES))
        offset_bytes = 0
        while got := source.readinto(buffer):
            data = buffer[:got]
            if np.frombuffer(data, np.uint8).any():
                volume.write(offset_bytes, data)
            else:
                volume.zero(offset_bytes, got)
            offset_bytes += got
        volume.flush()
        return size_bytes


def read_file(url: str, file: Path, *, tls: TlsFiles | None = None) -> int:
    """Read an export into a file, zeroes as holes; return its size in bytes. The file appears whole or not at all."""
    with (
        NbdClient.connect(url, contexts=(ALLOCATION,), tls=tls) as volume,
        written_whole(file) as draft,
        draft.open("wb") as target,
    ):
        target.truncate(volume.size_bytes)
        buffer = memoryview(bytearray(_STEP_BYTES))
        for extent in volume.extents(ALLOCATION):
            if extent.flags & _ZERO:
                continue
            end_bytes = extent.offset_bytes + extent.length_bytes
            for offset_bytes in range(extent.offset_bytes, end_bytes, _STEP_BYTES):
                data = buffer[: min(_STEP_BYTES, end_bytes - offset_bytes)]
                volume.read_into(offset_bytes, data)
                os.pwrite(target.fileno(), data, offset_bytes)
        return volume.size_bytes
