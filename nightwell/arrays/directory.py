"""An array's directory: made when it is missing, and held by one process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from nightwell.errors import ConflictError, InputError


def lock_directory(directory: Path, folders: Sequence[str]) -> int:
    """Make the array's directory with its folders, and hold it for this process; return the lock's descriptor.

    Raises
    ------
    ConflictError
        Another process holds it.
    InputError
        It cannot be made or written.
    """
    try:
        for path in (directory, *(directory / folder for folder in folders)):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise InputError(
            f"array directory {directory}",
            expected="a directory that can be written",
            found=str(problem),
            cause="the path is wrong, or belongs to another user",
            next_step="give another directory",
        ) from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise ConflictError(
            f"array directory {directory}",
            expected="a directory that no other array process uses",
            found=f"process {holder or 'unknown'} using it",
            cause="the array is running already",
            next_step="use the running array, or stop it first",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor
