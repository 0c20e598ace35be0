"""The port that every storage array driver implements.

Two small interfaces: :class:`VolumeArray` (volumes and copy pairs) and :class:`Line` (what the array serves on its
network side). Rules for every driver:

- Every call is idempotent: calling again after an unknown outcome is safe and gives the same result.
- Things made for a run carry ``owner`` (the run's id). A driver refuses to delete, withdraw or release what belongs
  to another owner (:class:`~nightwell.errors.ConflictError`); ``owner=None`` is a person acting by hand.
- Deleting, withdrawing or releasing what does not exist succeeds: it is gone, as asked.
- A driver only classifies errors; it does not retry, throttle or log. Wrappers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class PairState(StrEnum):
    """State of a copy pair, in the words of the arrays' own manuals."""

    SMPL = "SMPL"  # no pair
    COPY = "COPY"  # copying, S is not usable
    PAIR = "PAIR"  # S is in step with P
    PSUS = "PSUS"  # split: S stands still
    PSUE = "PSUE"  # failed: S must not be trusted


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do; callers ask here instead of trying."""

    persistent_pair: bool  # a pair survives a restart of the array
    group_split: bool  # split() of several primaries is one point in time
    change_list: bool  # exports of a split S serve `nightwell:changed`
    secondary_readable_while_pair: bool  # S may be exported read-only in PAIR
    pair_context: bool = True  # exports tell the pair's state to their readers, as `nightwell:pair`
    counts_connections: bool = True  # exports() says how many clients are connected
    passes_contexts: bool = True  # an import offers every context that the other array's export offers
    sector_bytes: int = 1  # sizes are whole multiples of this


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """One logical volume. ``owner`` is the run that made it, ``None`` when a person did."""

    name: str
    size_bytes: int
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class PairInfo:
    """One copy pair.

    ``split_id`` names the point in time S stands at (``None`` unless PSUS); ``previous_split_id`` names the point the
    change list counts from (``None`` when the list cannot be used: first split, grown volume, unclean stop).
    """

    primary: str
    secondary: str
    state: PairState
    copied_bytes: int  # of the copy or resync under way, or of the last one
    to_copy_bytes: int  # what that copy or resync had to move in all
    owner: str | None = None
    split_id: str | None = None
    previous_split_id: str | None = None
    split_at: datetime | None = None  # UTC, aware
    fault: str | None = None  # why the state is PSUE


@dataclass(frozen=True, slots=True)
class Export:
    """One volume (or import) that the array serves over NBD."""

    name: str
    volume: str  # local volume, or the import's own name
    url: str  # nbd://host:port/name, or nbds:// with TLS
    writable: bool
    connections: int | None = 0  # None when the array cannot tell
    owner: str | None = None
    imported_from: str | None = None  # URL at the other array, when this is an import


class VolumeArray(Protocol):
    """Volumes and copy pairs of one array. All calls but :meth:`split` return without waiting for a copy."""

    @property
    def name(self) -> str:
        """The array's name."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        ...

    def volumes(self) -> tuple[VolumeInfo, ...]:
        """Return every volume, sorted by name."""
        ...

    def create_volume(self, name: str, size_bytes: int, *, owner: str | None = None) -> VolumeInfo:
        """Make a zero-filled volume. The same name, size and owner again succeeds; otherwise ConflictError."""
        ...

    def grow_volume(self, name: str, size_bytes: int) -> VolumeInfo:
        """Make a volume larger (never smaller: InputError; in a pair: ConflictError)."""
        ...

    def delete_volume(self, name: str, *, owner: str | None = None) -> None:
        """Delete a volume; refused while it is in a pair or an export is connected (ConflictError)."""
        ...

    def pair_of(self, volume: str) -> PairInfo | None:
        """Return the pair in which this volume is primary or secondary; unknown volume: NotFoundError."""
        ...

    def create_pair(self, primary: str, secondary: str, *, owner: str | None = None) -> PairInfo:
        """Pair two volumes of one size and start the copy (state COPY, then PAIR)."""
        ...

    def split(self, primaries: Sequence[str]) -> tuple[PairInfo, ...]:
        """Split the pairs at one point in time, and block until S stands still.

        All in PAIR, or nothing is split (ConflictError). A pair that is PSUS already stays as it is.
        """
        ...

    def resync(self, primary: str) -> PairInfo:
        """Start bringing S back in step, copying only what changed; S's exports must be withdrawn first."""
        ...

    def delete_pair(self, primary: str, *, owner: str | None = None) -> None:
        """Dissolve the pair; both volumes stay."""
        ...


class Line(Protocol):
    """What the array serves on its network side, and what it attaches from another array over line 1."""

    def exports(self) -> tuple[Export, ...]:
        """Return every export and import, sorted by name."""
        ...

    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        """Serve a volume under ``name`` (default: the volume's own).

        Writable is refused for a secondary in a pair; any export of S is refused in COPY and PSUE (ConflictError).
        """
        ...

    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an export and close its connections; blocks until no request of it is in flight."""
        ...

    def import_volume(self, url: str, *, name: str, writable: bool, owner: str | None = None) -> Export:
        """Attach another array's export and serve it here under ``name``; UnreachableError, NotFoundError."""
        ...

    def release(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an import and detach it; blocks until no request of it is in flight."""
        ...


class Array(VolumeArray, Line, Protocol):
    """A whole array: what a driver implements."""

    def close(self) -> None:
        """Give back what this client of the array holds; the array itself goes on."""
        ...
