"""An array's own record: one JSON file, replaced in one durable step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from nightwell.errors import FormatError, IntegrityError

_Record = TypeVar("_Record")
_FORMAT_ADAPTER = TypeAdapter(dict[str, object])


def current_boot_id() -> str:
    """Return the identity of this run of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def load_record(path: Path, adapter: TypeAdapter[_Record], newest_format: int) -> _Record | None:
    """Return the recorded state; ``None`` when there is none.

    Raises
    ------
    FormatError
        Written by a newer release.
    IntegrityError
        Not what this program writes.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = _FORMAT_ADAPTER.validate_json(text).get("format")
        if isinstance(found, int) and found > newest_format:
            raise FormatError(
                f"array state {path}",
                expected=f"format {newest_format} or older",
                found=f"format {found}",
                cause="a newer release wrote it",
                next_step="start this array with that release",
            )
        return adapter.validate_json(text)
    except ValidationError as problem:
        raise IntegrityError(
            f"array state {path}",
            expected="the record that the array wrote",
            found=f"{problem.error_count()} faults, the first: {problem.errors()[0]['msg']}",
            cause="the file was edited or damaged",
            next_step="put the file back from a copy; the volumes' own files are untouched",
        ) from problem


def save_record(path: Path, adapter: TypeAdapter[_Record], state: _Record) -> None:
    """Replace the recorded state in one durable step: after a crash it is the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(adapter.dump_json(state, indent=1))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names made or removed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
