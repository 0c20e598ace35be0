"""What the array remembers across restarts: one JSON file, replaced in one step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nightwell.arrays.embedded.volume_file import sync_directory
from nightwell.arrays.port import PairState
from nightwell.errors import FormatError, IntegrityError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """One volume; its file is ``volumes/<name>.raw``."""

    name: str
    size_bytes: int
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One copy pair; its maps are ``maps/<pair_id>.lacking``, ``.0`` and ``.1``.

    ``state`` is COPY for every pair that is linked: whether it is in step is for its map to say. ``recorder`` tells
    which of the two maps gathers changes now; the other one is the list frozen at the last split. ``base_split_id``
    names the point in time since which it gathers, ``None`` when that is not known for certain.
    """

    pair_id: str
    primary: str
    secondary: str
    state: PairState
    owner: str | None = None
    recorder: int = 0
    base_split_id: str | None = None
    split_id: str | None = None
    previous_split_id: str | None = None
    split_at: datetime | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """One served volume."""

    name: str
    volume: str
    writable: bool
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One attached export of another array."""

    name: str
    url: str
    writable: bool
    size_bytes: int
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class ArrayState:
    """All of it.

    ``clean`` says that everything was on disk when the process ended; ``boot_id`` names the run of the kernel whose
    page cache holds the rest. ``leftovers`` are files whose removal was decided.
    """

    name: str
    boot_id: str
    clean: bool
    port: int = 0
    volumes: tuple[VolumeRecord, ...] = ()
    pairs: tuple[PairRecord, ...] = ()
    exports: tuple[ExportRecord, ...] = ()
    imports: tuple[ImportRecord, ...] = ()
    leftovers: tuple[str, ...] = ()
    format: int = field(default=FORMAT)


_ADAPTER = TypeAdapter(ArrayState)
_FORMAT_ADAPTER = TypeAdapter(dict[str, object])


def current_boot_id() -> str:
    """Return the identity of this run of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def load_state(path: Path) -> ArrayState | None:
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
        if isinstance(found, int) and found > FORMAT:
            raise FormatError(
                f"array state {path}",
                expected=f"format {FORMAT} or older",
                found=f"format {found}",
                cause="a newer release wrote it",
                next_step="start this array with that release",
            )
        return _ADAPTER.validate_json(text)
    except ValidationError as problem:
        raise IntegrityError(
            f"array state {path}",
            expected="the record that the array wrote",
            found=f"{problem.error_count()} faults, the first: {problem.errors()[0]['msg']}",
            cause="the file was edited or damaged",
            next_step="put the file back from a copy; the volumes' own files are untouched",
        ) from problem


def save_state(path: Path, state: ArrayState) -> None:
    """Replace the recorded state in one durable step: after a crash it is the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(_ADAPTER.dump_json(state, indent=1))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)
    sync_directory(path.parent)
