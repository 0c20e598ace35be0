"""What the qemu array remembers across restarts: one JSON file, replaced in one durable step."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from nightwell.arrays.port import PairState
from nightwell.arrays.served import ExportRecord, ImportRecord

FORMAT = 1


@dataclass(frozen=True, slots=True)
class VolumeRecord:
    """One volume: a chain of files below ``volumes/``, the oldest first.

    The first is raw and holds everything once the others are folded into it. Each further one is a qcow2 overlay that
    was put on top at a split: it holds what the host wrote since.
    """

    name: str
    size_bytes: int
    layers: tuple[str, ...]
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One copy pair.

    ``full`` says that the copy under way, or to be made next, is of everything. ``splitting`` is set from before a
    split touches anything until S is on the disk and the split is recorded: what a restart finds set was cut short.
    """

    pair_id: str
    primary: str
    secondary: str
    state: PairState
    owner: str | None = None
    full: bool = True
    splitting: bool = False
    split_id: str | None = None
    last_split_id: str | None = None
    split_at: datetime | None = None
    fault: str | None = None
    copied_bytes: int = 0
    to_copy_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ArrayState:
    """All of it; ``clean`` says that the daemon ended in order, with everything flushed."""

    name: str
    clean: bool
    port: int = 0
    next_number: int = 1
    volumes: tuple[VolumeRecord, ...] = ()
    pairs: tuple[PairRecord, ...] = ()
    exports: tuple[ExportRecord, ...] = ()
    imports: tuple[ImportRecord, ...] = ()
    format: int = field(default=FORMAT)
