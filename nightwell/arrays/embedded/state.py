"""What the array remembers across restarts: one JSON file, replaced in one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from nightwell.arrays.port import PairState
from nightwell.arrays.record_file import load_record, save_record
from nightwell.arrays.served import ExportRecord, ImportRecord

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


def load_state(path: Path) -> ArrayState | None:
    """Return the recorded state; ``None`` when there is none; errors as :func:`load_record`."""
    return load_record(path, _ADAPTER, FORMAT)


def save_state(path: Path, state: ArrayState) -> None:
    """Replace the recorded state in one durable step."""
    save_record(path, _ADAPTER, state)
